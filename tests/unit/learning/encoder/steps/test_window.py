"""One optimizer step is the same however it is cut, and survives bad numbers and full memory."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from postq.errors import DeviceMemoryExhausted, LossNotFinite
from postq.learning.encoder.steps.state import TrainingState
from postq.learning.encoder.steps.window import train_window
from postq.learning.encoder.steps.workbench import Workbench, copy_weights
from tests.unit.learning.encoder.bench import BagOfTokens, build_bench, text_of
from tests.unit.learning.encoder.recorder import Recorder

TEXTS = [text_of(range(1 + i, 4 + 2 * i)) for i in range(16)]
EVERYTHING = np.arange(16)


def never_paused() -> None:
    raise AssertionError("nobody asked to stop")


def step(bench: Workbench, state: TrainingState, window: Any = EVERYTHING) -> None:
    train_window(bench, state, window, pause=never_paused)


@pytest.mark.parametrize("facet_loss", [0.0, 0.7], ids=["labels", "facets"])
@pytest.mark.parametrize("loss", ["bce", "bce_pos_weight", "asl", "focal"])
def test_accumulation_of_one_and_four_take_the_same_step_and_show_the_same_loss(
    loss: str, facet_loss: float
) -> None:
    taken = []
    for batch, accumulation, tokens in ((16, 1, 10_000), (4, 4, 80), (16, 1, 50), (2, 8, 1)):
        bench, state = build_bench(
            TEXTS,
            batch_documents=batch,
            accumulation=accumulation,
            micro_tokens=tokens,
            loss=loss,
            facet_loss=facet_loss,
        )
        gradients: list[dict[str, Tensor]] = []
        bench.optimizer.register_step_pre_hook(
            lambda *_, bench=bench, kept=gradients: kept.append(
                {name: w.grad.clone() for name, w in bench.model.named_parameters() if w.grad is not None}
            )
        )
        step(bench, state)
        taken.append((gradients[0], state.epoch_sums.loss / state.epoch_sums.documents))
    for gradients_, shown in taken[1:]:
        assert shown == pytest.approx(taken[0][1], abs=1e-5)
        for name, gradient in gradients_.items():
            torch.testing.assert_close(gradient, taken[0][0][name], rtol=1e-5, atol=1e-6)


def test_a_short_last_window_counts_each_of_its_documents_fully() -> None:
    bench, state = build_bench(
        TEXTS[:3], batch_documents=2, accumulation=2, max_gradient_norm=1e9, micro_tokens=8
    )
    expected = build_bench(TEXTS[:3], batch_documents=3, max_gradient_norm=1e9)
    step(bench, state, np.arange(3))
    step(*expected, np.arange(3))
    assert state.optimizer_steps == state.scheduler_steps == 1
    for name, weight in copy_weights(bench.model).items():
        torch.testing.assert_close(weight, copy_weights(expected[0].model)[name])


def test_gradients_are_clipped_to_the_norm() -> None:
    bench, state = build_bench(TEXTS, max_gradient_norm=1e-3)
    norms: list[Tensor] = []

    def measure(*_: object) -> None:
        gradients = [weight.grad for weight in bench.model.parameters() if weight.grad is not None]
        norms.append(torch.nn.utils.get_total_norm(gradients))

    bench.optimizer.register_step_pre_hook(measure)
    step(bench, state)
    assert float(norms[0]) == pytest.approx(1e-3, rel=1e-3)


class PoisonedByToken(BagOfTokens):
    """Gives NaN for texts that hold token 49; finite logits with infinite gradients for those with 48."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        logits = super().forward(input_ids, attention_mask).logits
        poisoned = (input_ids == 49).any(dim=1, keepdim=True)
        steep = (input_ids == 48).any(dim=1, keepdim=True)
        logits = logits.masked_fill(poisoned, float("nan"))
        if logits.requires_grad:
            logits.register_hook(lambda gradient: gradient.masked_fill(steep, float("inf")))
        return SimpleNamespace(logits=logits)


@pytest.mark.parametrize("token", [49, 48], ids=["loss", "gradient"])
def test_a_document_that_is_not_a_number_is_found_dropped_and_told(token: int) -> None:
    texts = [*TEXTS[:7], text_of([1, token, 2])]
    told = Recorder()
    bench, state = build_bench(texts, hooks=told.hooks, model=PoisonedByToken(), batch_documents=4)
    step(bench, state, np.arange(8))
    assert state.dropped == [7]
    assert told.events == ["NAN"]
    assert "doc-7" in told.notes[0][1]
    assert state.epoch_sums.documents == 7
    assert all(torch.isfinite(weight).all() for weight in bench.model.parameters())


class SpreadingPoison(PoisonedByToken):
    """Where one document's logits are not numbers, all of its batch's are not."""

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        logits = super().forward(input_ids, attention_mask).logits
        return SimpleNamespace(logits=logits + 0 * logits.detach().sum())


def test_a_document_that_makes_its_neighbours_no_numbers_is_dropped_alone() -> None:
    texts = [*TEXTS[:7], text_of([1, 49, 2])]
    bench, state = build_bench(texts, model=SpreadingPoison())
    step(bench, state, np.arange(8))
    assert state.dropped == [7]
    assert state.epoch_sums.documents == 7


def test_the_step_without_the_dropped_document_is_the_step_it_never_was_in() -> None:
    texts = [*TEXTS[:7], text_of([1, 49, 2])]
    torch.manual_seed(0)
    bench, state = build_bench(texts, model=PoisonedByToken())
    torch.manual_seed(0)
    healthy, healthy_state = build_bench(TEXTS[:7], model=PoisonedByToken())
    healthy.model.load_state_dict(bench.model.state_dict())
    step(bench, state, np.arange(8))
    step(healthy, healthy_state, np.arange(7))
    for name, weight in copy_weights(bench.model).items():
        torch.testing.assert_close(weight, copy_weights(healthy.model)[name], rtol=0, atol=0)


def test_a_fourth_bad_document_ends_the_training() -> None:
    texts = [*TEXTS[:4], *(text_of([1, 49, i]) for i in range(4))]
    bench, state = build_bench(texts, model=PoisonedByToken())
    before = copy_weights(bench.model)
    with pytest.raises(LossNotFinite, match="for 4 documents"):
        step(bench, state, np.arange(8))
    assert all(torch.equal(weight, before[name]) for name, weight in copy_weights(bench.model).items())


class SmallMemory(BagOfTokens):
    """Runs out of memory above `room` documents at once."""

    def __init__(self, *, room: int, error: RuntimeError | None = None) -> None:
        super().__init__()
        self.room = room
        self.error = error or torch.OutOfMemoryError()
        self.seen: list[int] = []

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        if len(input_ids) > self.room:
            raise self.error
        self.seen.append(len(input_ids))
        return super().forward(input_ids, attention_mask)


def test_out_of_memory_halves_the_micro_batch_and_takes_the_same_step() -> None:
    told = Recorder()
    torch.manual_seed(0)
    model = SmallMemory(room=5)
    bench, state = build_bench(TEXTS, hooks=told.hooks, model=model, batch_documents=16)
    roomy, roomy_state = build_bench(TEXTS, batch_documents=16)
    roomy.model.load_state_dict(model.state_dict())
    step(bench, state)
    step(roomy, roomy_state)
    assert set(told.events) == {"OUT_OF_MEMORY"}
    assert state.micro_tokens < sum(text.length for text in TEXTS) / 2
    assert sum(model.seen[-4:]) <= 16
    assert state.epoch_sums.documents == 16
    for name, weight in copy_weights(bench.model).items():
        torch.testing.assert_close(weight, copy_weights(roomy.model)[name], rtol=1e-4, atol=1e-6)


def test_one_document_that_does_not_fit_alone_ends_the_training() -> None:
    bench, state = build_bench(TEXTS, model=SmallMemory(room=0))
    with pytest.raises(DeviceMemoryExhausted):
        step(bench, state)


def test_one_document_that_does_not_fit_alone_is_tried_with_gradient_checkpointing() -> None:
    class Checkpointable(SmallMemory):
        supports_gradient_checkpointing = True

        def gradient_checkpointing_enable(self) -> None:
            self.room = 1

    bench, state = build_bench(TEXTS, model=Checkpointable(room=0))
    step(bench, state)
    assert state.gradient_checkpointing
    assert state.optimizer_steps == 1


@pytest.mark.parametrize(
    "words",
    [
        "MPS backend out of memory",
        "DefaultCPUAllocator: can't allocate memory",
        "CUBLAS_STATUS_ALLOC_FAILED",
    ],
)
def test_devices_without_an_error_class_are_understood_by_their_words(words: str) -> None:
    bench, state = build_bench(TEXTS, model=SmallMemory(room=5, error=RuntimeError(words)))
    step(bench, state)
    assert state.optimizer_steps == 1


def test_any_other_error_of_a_device_is_raised() -> None:
    bench, state = build_bench(TEXTS, model=SmallMemory(room=5, error=RuntimeError("an illegal access")))
    with pytest.raises(RuntimeError, match="an illegal access"):
        step(bench, state)
