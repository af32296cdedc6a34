"""One optimizer step is the same on one rank and on several, and no rank is ever left waiting."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from postq.contracts.facets import Facets
from postq.contracts.recipes import EncoderRecipe
from postq.errors import DeviceMemoryExhausted, LossNotFinite
from postq.learning.encoder.ranks.agreement import ALONE, Ranks
from postq.learning.encoder.steps.state import TrainingState
from postq.learning.encoder.steps.window import train_window
from postq.learning.encoder.steps.workbench import Workbench
from postq.learning.encoder.tokens.tokeniser import TextTokeniser, TokenisedText
from postq.learning.encoder.training.course import Course, Orders, build_bench, run_course
from postq.learning.encoder.training.facet_targets import choose_facet_targets
from postq.learning.encoder.training.prepared import Prepared, fresh_backbone, prepare
from postq.learning.hooks import Hooks, StopRequested
from tests.unit.learning.encoder.bench import BagOfTokens, text_of
from tests.unit.learning.encoder.bench import build_bench as small_bench
from tests.unit.learning.encoder.material import FACET_TARGETS, FACETS, LABELS, opinions, training_data
from tests.unit.learning.encoder.ranks.threads import as_ranks
from tests.unit.learning.encoder.recorder import Recorder

TEXTS = [text_of(range(1 + i, 4 + 2 * i)) for i in range(16)]

ONE_GENERATOR = threading.Lock()
"""Ranks that are threads share torch's generator: weights are drawn by one at a time, from its seed."""


class Stepped:
    """What one rank had in hand when it stepped."""

    def __init__(self, bench: Workbench, state: TrainingState, told: Recorder) -> None:
        self.bench, self.state, self.told = bench, state, told
        self.gradients: dict[str, Tensor] = {}
        bench.optimizer.register_step_pre_hook(self._keep)

    def _keep(self, *_: object) -> None:
        named = self.bench.model.named_parameters()
        self.gradients = {name: w.grad.clone() for name, w in named if w.grad is not None}

    @property
    def loss(self) -> float:
        return self.state.epoch_sums.loss / self.state.epoch_sums.documents


def stepped(
    ranks: Ranks,
    documents: int,
    *,
    texts: Sequence[TokenisedText] = TEXTS,
    make_model: Callable[[], nn.Module] = BagOfTokens,
    **options: Any,
) -> Stepped:
    """The bench and state of one rank after a window of `documents`."""
    told = Recorder()
    with ONE_GENERATOR:
        torch.manual_seed(0)
        bench, state = small_bench(texts, hooks=told.hooks, model=make_model(), **options)
    bench.ranks = ranks
    ranks.any(False)  # nobody steps, and seeds the generator, before all have drawn
    result = Stepped(bench, state, told)
    train_window(bench, state, np.arange(documents), pause=lambda: pytest.fail("nobody asked to stop"))
    return result


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize(("documents", "micro_tokens"), [(16, 10_000), (16, 1), (3, 40), (2, 10_000)])
def test_the_step_of_several_ranks_is_that_of_one(size: int, documents: int, micro_tokens: int) -> None:
    whole = stepped(ALONE, documents, micro_tokens=micro_tokens)
    for one in as_ranks(size, lambda ranks: stepped(ranks, documents, micro_tokens=micro_tokens)):
        assert one.loss == pytest.approx(whole.loss, abs=1e-5)
        assert one.state.epoch_sums.documents == documents
        assert one.state.tokens == whole.state.tokens
        assert one.gradients.keys() == whole.gradients.keys()
        for name, gradient in one.gradients.items():
            torch.testing.assert_close(gradient, whole.gradients[name], rtol=1e-5, atol=1e-6)


def test_every_document_is_one_rank_s_and_the_tokens_are_even() -> None:
    lengths = np.array([text.length for text in TEXTS])
    parts = as_ranks(3, lambda ranks: ranks.share(np.arange(16), lengths))
    assert sorted(np.concatenate(parts).tolist()) == list(range(16))
    loads = [int(lengths[part].sum()) for part in parts]
    assert max(loads) - min(loads) <= lengths.min()


class Unused(BagOfTokens):
    """Has a weight that no answer depends on."""

    def __init__(self) -> None:
        super().__init__()
        self.idle = nn.Parameter(torch.ones(3))


def test_a_weight_without_a_gradient_anywhere_is_left_alone() -> None:
    for one in as_ranks(2, lambda ranks: stepped(ranks, 1, make_model=Unused)):
        assert "idle" not in one.gradients
        assert "head.weight" in one.gradients


class Poisoned(BagOfTokens):
    """Gives NaN for texts that hold token 49; finite logits with infinite gradients for those with 48."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        logits = super().forward(input_ids, attention_mask).logits
        logits = logits.masked_fill((input_ids == 49).any(dim=1, keepdim=True), float("nan"))
        steep = (input_ids == 48).any(dim=1, keepdim=True)
        if logits.requires_grad:
            logits.register_hook(lambda gradient: gradient.masked_fill(steep, float("inf")))
        return SimpleNamespace(logits=logits)


@pytest.mark.parametrize("token", [49, 48], ids=["loss", "gradient"])
def test_what_one_rank_finds_not_a_number_all_leave_out(token: int) -> None:
    texts = [*TEXTS[:7], text_of([1, token, 2])]
    for one in as_ranks(3, lambda ranks: stepped(ranks, 8, texts=texts, make_model=Poisoned)):
        assert one.state.dropped == [7]
        assert one.told.events == ["NAN"]
        assert one.state.epoch_sums.documents == 7
        assert all(torch.isfinite(weight).all() for weight in one.bench.model.parameters())


def test_too_many_bad_documents_end_the_training_on_every_rank() -> None:
    texts = [*TEXTS[:4], *(text_of([1, 49, i]) for i in range(4))]

    def ended(ranks: Ranks) -> str:
        with pytest.raises(LossNotFinite) as found:
            stepped(ranks, 8, texts=texts, make_model=Poisoned)
        return found.value.message

    messages = as_ranks(2, ended)
    assert messages[0] == messages[1]
    assert "for 4 documents" in messages[0]


class Cramped(BagOfTokens):
    """Runs out of memory above `room` documents at once."""

    def __init__(self, *, room: int) -> None:
        super().__init__()
        self.room = room

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        if len(input_ids) > self.room:
            raise torch.OutOfMemoryError
        return super().forward(input_ids, attention_mask)


def test_memory_that_runs_out_on_one_rank_halves_the_micro_batch_of_all() -> None:
    def narrow(ranks: Ranks) -> Stepped:
        return stepped(ranks, 16, make_model=partial(Cramped, room=2 if ranks.rank == 1 else 99))

    first, second = as_ranks(2, narrow)
    assert first.state.micro_tokens == second.state.micro_tokens < 10_000
    assert set(first.told.events) == set(second.told.events) == {"OUT_OF_MEMORY"}
    assert first.loss == pytest.approx(second.loss)
    assert first.state.epoch_sums.documents == 16


def test_one_document_too_many_for_one_rank_ends_all() -> None:
    def ended(ranks: Ranks) -> bool:
        with pytest.raises(DeviceMemoryExhausted):
            stepped(ranks, 16, make_model=partial(Cramped, room=0 if ranks.rank == 1 else 99))
        return True

    assert as_ranks(2, ended) == [True, True]


def test_draws_of_a_step_depend_on_seed_step_and_rank_alone() -> None:
    def draw(ranks: Ranks, seed: int, step: int) -> float:
        ranks.seed_step(seed, step)
        return float(torch.rand(()))

    exchange: Any = object()
    first, second = Ranks(exchange, rank=0, size=2), Ranks(exchange, rank=1, size=2)
    drawn = [draw(first, 42, 0), draw(first, 42, 1), draw(second, 42, 0), draw(first, 7, 0)]
    assert len(set(drawn)) == 4
    assert draw(first, 42, 0) == drawn[0]
    ALONE.seed_step(42, 0)
    assert draw(ALONE, 42, 0) != drawn[0]


# Trainings as a whole, on ranks that are threads. Dropout would draw from one generator for all of them.

TINY = {"epochs": 2, "batch_documents": 4, "accumulation": 2, "attention_dropout": 0.0}


@pytest.fixture(scope="module")
def prepared(tiny_backbone: Path) -> Prepared:
    recipe = EncoderRecipe(
        backbone=str(tiny_backbone), max_tokens=128, learning_rate=3e-3, patience=0, **TINY
    )  # type: ignore[arg-type]
    backbone = fresh_backbone(recipe, LABELS)
    tokeniser = TextTokeniser(backbone.tokenizer, max_tokens=128, piece_tokens=128)
    return prepare(recipe, training_data(opinions(19), opinions(7, start=100)), tokeniser, hooks=Hooks())


def course(prepared: Prepared, ranks: Ranks, hooks: Hooks | None = None, **orders: Any) -> Course:
    with ONE_GENERATOR:
        backbone = fresh_backbone(prepared.recipe, LABELS, prepared.facets)
    for module in backbone.model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    ranks.any(False)
    own = (hooks or Hooks()) if ranks.first else Hooks()
    bench = build_bench(prepared, backbone, device=torch.device("cpu"), hooks=own, ranks=ranks)
    return run_course(prepared, bench, Orders(tokens=250, **orders))


def with_facets(recipe: EncoderRecipe) -> Prepared:
    """What is prepared for a training that learns facets too, as another process receives it."""
    data = training_data(opinions(19), opinions(7, start=100))
    facets = choose_facet_targets(recipe, data)
    tokenizer = fresh_backbone(recipe, LABELS).tokenizer
    tokeniser = TextTokeniser(tokenizer, max_tokens=128, piece_tokens=128)
    return prepare(recipe, data, tokeniser, hooks=Hooks(), facets=facets).packed().unpacked()


@pytest.mark.parametrize("facets", [None, FACETS], ids=["labels", "facets"])
@pytest.mark.parametrize("head", ["pooled", "label_attention"])
def test_a_training_of_several_ranks_is_that_of_one_but_for_rounding(
    head: str, facets: Facets | None, prepared: Prepared
) -> None:
    recipe = prepared.recipe.model_copy(update={"head": head})
    prepared = replace(prepared, recipe=recipe)
    if facets is not None:
        prepared = with_facets(recipe.model_copy(update={"facets": facets, "facet_loss": 0.5}))
        assert prepared.facets == FACET_TARGETS
    whole = course(prepared, ALONE)
    for one in as_ranks(3, lambda ranks: course(prepared, ranks)):
        for entry, expected in zip(one.state.history, whole.state.history, strict=True):
            assert {**entry, "seconds": 0} == pytest.approx({**expected, "seconds": 0}, rel=1e-3, abs=1e-5)


@pytest.fixture(scope="module")
def undisturbed(prepared: Prepared) -> Course:
    return as_ranks(2, lambda ranks: course(prepared, ranks))[0]


# The first rank asks after each step, of which there are three an epoch, and before each batch of validation.
@pytest.mark.parametrize("question", [2, 4])
def test_stopped_and_resumed_ranks_end_bit_for_bit_as_undisturbed_ones(
    question: int, undisturbed: Course, prepared: Prepared, tmp_path: Path
) -> None:
    told = Recorder(stop_after=question)

    def stopped(ranks: Ranks) -> bool:
        with pytest.raises(StopRequested):
            course(prepared, ranks, told.hooks, checkpoints=tmp_path / "token-1")
        return True

    assert as_ranks(2, stopped) == [True, True]
    resume = {"resume_from": told.checkpoints[-1][0], "checkpoints": tmp_path / "token-2"}
    ended = as_ranks(2, lambda ranks: course(prepared, ranks, **resume))[0]
    assert ended.state.resumed == 1
    assert all(torch.equal(ended.best[name], weight) for name, weight in undisturbed.best.items())


def test_ranks_that_stopped_can_be_resumed_by_another_number_of_them(
    undisturbed: Course, prepared: Prepared, tmp_path: Path
) -> None:
    told = Recorder(stop_after=2)

    def stopped(ranks: Ranks) -> None:
        with pytest.raises(StopRequested):
            course(prepared, ranks, told.hooks, checkpoints=tmp_path)

    as_ranks(2, stopped)
    alone = course(prepared, ALONE, resume_from=told.checkpoints[-1][0])
    for name, weight in undisturbed.best.items():
        torch.testing.assert_close(alone.best[name], weight, rtol=1e-3, atol=1e-4)


def test_a_process_alone_that_stopped_within_a_step_can_go_on_as_ranks(
    undisturbed: Course, prepared: Prepared, tmp_path: Path
) -> None:
    told = Recorder(stop_after=1)
    with pytest.raises(StopRequested):
        course(prepared, ALONE, told.hooks, checkpoints=tmp_path)
    ended = as_ranks(2, lambda ranks: course(prepared, ranks, resume_from=told.checkpoints[-1][0]))[0]
    for name, weight in undisturbed.best.items():
        torch.testing.assert_close(ended.best[name], weight, rtol=1e-3, atol=1e-4)
