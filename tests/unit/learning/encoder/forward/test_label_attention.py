"""Label attention: equal to its formula, padded or packed, and a bundle like any other."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModel

from postq.contracts.recipes import EncoderRecipe
from postq.errors import BundleUnusable
from postq.learning.bundle.opening import open_bundle
from postq.learning.bundle.score_file import read_scores
from postq.learning.encoder.backbones.label_names import encoded_names
from postq.learning.encoder.backbones.loading import load_backbone, load_classifier
from postq.learning.encoder.forward.calling import Batch, forward_logits, runnable_form, scoring_form
from postq.learning.encoder.forward.label_attention import HEAD_FILE, LabelAttention, PackedLabelAttention
from postq.learning.encoder.scoring.space import read_settings
from postq.learning.encoder.steps.losses import prior_logit
from postq.learning.encoder.steps.workbench import copy_weights
from postq.learning.encoder.training.fine_tuning import train_encoder
from postq.learning.encoder.training.head import start_at_prior
from postq.learning.encoder.training.trained import TrainedEncoder
from postq.learning.hooks import Hooks, StopRequested
from postq.learning.scoring import load_scorer
from postq.learning.training import train_bundle
from tests.unit.learning.encoder.material import CPU, LABELS, opinions, training_data
from tests.unit.learning.encoder.recorder import Recorder

BOUNDS = [0, 5, 6, 13]
MakeRecipe = Callable[..., EncoderRecipe]


def head(*, labels: int = 4, hidden: int = 6, seed: int = 0) -> LabelAttention:
    torch.manual_seed(seed)
    made = LabelAttention(hidden=hidden, labels=labels).double()
    for weight in made.parameters():
        torch.nn.init.normal_(weight)
    return made


def by_the_formula(made: LabelAttention, stream: Tensor) -> Tensor:
    """One document, label and token at a time, with the vector v_c that the head never forms."""
    rows = []
    for start, stop in pairwise(BOUNDS):
        states = made.norm(stream[start:stop])
        row = []
        for query, beta, bias in zip(made.queries.weight, made.output.weight, made.output.bias, strict=True):
            scores = torch.stack([query @ torch.tanh(made.project.weight @ state) for state in states])
            shares = scores.exp() / scores.exp().sum()
            pooled = sum(share * state for share, state in zip(shares, states, strict=True))
            row.append(beta @ pooled + bias)
        rows.append(torch.stack(row))
    return torch.stack(rows)


def test_logits_and_gradients_are_the_formula_s() -> None:
    stream = torch.randn(13, 6, dtype=torch.float64, requires_grad=True)
    made = head()
    weights = [stream, *made.parameters()]
    torch.testing.assert_close(made(stream, BOUNDS), by_the_formula(made, stream))
    weighting = torch.randn(3, 4, dtype=torch.float64)
    own = torch.autograd.grad((made(stream, BOUNDS) * weighting).sum(), weights)
    slow = torch.autograd.grad((by_the_formula(made, stream) * weighting).sum(), weights)
    for one, other in zip(own, slow, strict=True):
        torch.testing.assert_close(one, other)


def test_padding_changes_nothing() -> None:
    stream = torch.randn(13, 6, dtype=torch.float64)
    lengths = [stop - start for start, stop in pairwise(BOUNDS)]
    padded = torch.full((3, 9, 6), 1e3, dtype=torch.float64)
    mask = torch.zeros(3, 9, dtype=torch.long)
    for row, (start, stop) in enumerate(pairwise(BOUNDS)):
        padded[row, : lengths[row]] = stream[start:stop]
        mask[row, : lengths[row]] = 1
    made = head()
    torch.testing.assert_close(made.padded(padded, mask), made(stream, BOUNDS))


def test_sharp_scores_stay_finite_in_half_precision() -> None:
    made = head().to(torch.bfloat16)
    with torch.no_grad():
        made.queries.weight.mul_(1e6)
    logits = made(torch.randn(13, 6, dtype=torch.bfloat16), BOUNDS)
    assert logits.dtype == torch.float32
    assert bool(torch.isfinite(logits).all())


def attending(source: Path, *, max_tokens: int = 32) -> Any:
    torch.manual_seed(3)
    backbone = load_backbone(str(source), labels=LABELS, max_tokens=max_tokens, head="label_attention")
    backbone.model.eval()
    return backbone


def test_a_packed_longformer_gives_the_head_every_token_s_last_state(tiny_backbone: Path) -> None:
    model = attending(tiny_backbone).model
    form = runnable_form(model).eval()
    assert isinstance(form, PackedLabelAttention)
    pieces = tuple(np.arange(5, 5 + length, dtype=np.int32) for length in (20, 3, 11))
    logits = forward_logits(form, Batch(pieces=pieces))
    for row, piece in enumerate(pieces):
        ids = torch.from_numpy(piece.astype(np.int64))[None]
        marked = torch.zeros_like(ids)
        marked[0, 0] = 1
        stock = model(ids, torch.ones_like(ids), global_attention_mask=marked).logits
        torch.testing.assert_close(logits[row : row + 1], stock, rtol=1e-4, atol=1e-5)


def test_the_form_for_scoring_gives_the_same_logits(tiny_backbone: Path) -> None:
    model = attending(tiny_backbone).model
    batch = Batch(pieces=(np.arange(5, 25, dtype=np.int32),))
    with torch.no_grad():
        kept, fresh = forward_logits(scoring_form(model), batch), forward_logits(runnable_form(model), batch)
    torch.testing.assert_close(kept, fresh, rtol=1e-5, atol=1e-6)


def test_an_encoder_with_padding_gives_each_document_what_it_gets_alone(tiny_bert: Path) -> None:
    model = attending(tiny_bert).model
    assert runnable_form(model) is model
    pieces = tuple(np.arange(5, 5 + length, dtype=np.int32) for length in (20, 3, 11))
    together = forward_logits(model, Batch(pieces=pieces))
    alone = [forward_logits(model, Batch(pieces=(piece,))) for piece in pieces]
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["tiny_backbone", "tiny_bert"])
def test_queries_start_at_the_encoded_names(kind: str, request: pytest.FixtureRequest) -> None:
    backbone = attending(request.getfixturevalue(kind))
    model = backbone.model
    names = encoded_names(model, backbone.tokenizer, LABELS, piece_tokens=32)
    made = model.head
    expected = torch.tanh(made.project(made.norm(names))) / names.shape[1] ** 0.5
    torch.testing.assert_close(made.queries.weight, expected, rtol=1e-4, atol=1e-5)
    again = attending(request.getfixturevalue(kind)).model
    assert all(torch.equal(value, copy_weights(again)[name]) for name, value in copy_weights(model).items())


def test_the_bias_starts_at_the_prior(tiny_backbone: Path) -> None:
    model = attending(tiny_backbone).model
    share = np.array([0.5, 0.1, 0.01])
    assert start_at_prior(model, share)
    np.testing.assert_allclose(model.head.output.bias.detach().numpy(), prior_logit(share), rtol=1e-6)


DATA = training_data(opinions(60), opinions(20, start=200))


@pytest.fixture(scope="module")
def trained(tiny_backbone: Path) -> TrainedEncoder:
    recipe = EncoderRecipe(
        backbone=str(tiny_backbone),
        head="label_attention",
        max_tokens=128,
        epochs=8,
        batch_documents=8,
        accumulation=1,
        learning_rate=4e-3,
        patience=0,
    )
    return train_encoder(recipe, DATA, device=CPU, hooks=Hooks())


def test_it_learns_what_can_be_learned(trained: TrainedEncoder) -> None:
    losses = [entry["train_loss"] for entry in trained.history]
    assert losses[-1] < 0.5 * losses[0]
    assert trained.facts["best_value"] > 0.9


def test_a_written_model_loads_again_and_scores_alike(trained: TrainedEncoder, tmp_path: Path) -> None:
    trained.write_model_files(tmp_path)
    assert read_settings(tmp_path).head == "label_attention"
    backbone = load_classifier(tmp_path, labels=LABELS, head="label_attention")
    for name, weight in copy_weights(trained.model).items():
        assert torch.equal(copy_weights(backbone.model)[name], weight)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}
    # Plain transformers reads the backbone, and the backbone only.
    plain = AutoModel.from_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in stored.items())
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["LongformerModel"]


def test_a_bundle_with_it_is_scored_like_any_other(tiny_recipe: MakeRecipe, tmp_path: Path) -> None:
    data = replace(training_data(DATA.train[:16], DATA.validation[:8]), test=opinions(5, start=300))
    recipe = tiny_recipe(head="label_attention", epochs=1)
    train_bundle(recipe, data, output=tmp_path / "bundle", name="tiny", device=CPU, hooks=Hooks())
    bundle = open_bundle(tmp_path / "bundle")
    assert "AutoModel" in (bundle.path / "README.md").read_text()
    batches = list(load_scorer(bundle, CPU).score(data.test, on_failure=pytest.fail))
    scores = dict(
        zip(
            np.concatenate([b.rows for b in batches]),
            np.concatenate([b.scores for b in batches]),
            strict=True,
        )
    )
    stored = read_scores(bundle.path)[("main", "test")].scores
    for document, expected in zip(data.test, stored, strict=True):
        np.testing.assert_allclose(scores[document.row], expected, atol=1e-4)


@pytest.mark.parametrize("damage", ["missing", "misshapen"])
def test_a_head_that_is_missing_or_does_not_fit_is_refused(
    damage: str, trained: TrainedEncoder, tmp_path: Path
) -> None:
    trained.write_model_files(tmp_path)
    if damage == "missing":
        (tmp_path / HEAD_FILE).unlink()
        labels = LABELS
    else:
        labels = LABELS[:2]
        config = json.loads((tmp_path / "config.json").read_text())
        config["id2label"] = dict(enumerate(labels))
        config["label2id"] = {label: index for index, label in enumerate(labels)}
        (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(BundleUnusable, match="label_attention"):
        load_classifier(tmp_path, labels=labels, head="label_attention")


def test_stopped_within_a_step_and_resumed_it_ends_as_if_undisturbed(
    tiny_recipe: MakeRecipe, tmp_path: Path
) -> None:
    recipe = tiny_recipe(head="label_attention", epochs=1)
    data = training_data(opinions(21), opinions(6, start=100))

    def run(told: Recorder, **options: Any) -> TrainedEncoder:
        return train_encoder(recipe, data, device=CPU, hooks=told.hooks, tokens_per_batch=250, **options)

    undisturbed = run(Recorder())
    told = Recorder(stop_after=4)
    with pytest.raises(StopRequested):
        run(told, checkpoints=tmp_path)
    ended = run(Recorder(), resume_from=told.checkpoints[-1][0])
    assert all(
        torch.equal(weight, copy_weights(ended.model)[name])
        for name, weight in copy_weights(undisturbed.model).items()
    )


def test_long_texts_are_read_in_chunks_too(tiny_bert: Path, tiny_recipe: MakeRecipe) -> None:
    long = opinions(8, shortest=60, longest=90)
    recipe = tiny_recipe(
        backbone=str(tiny_bert), head="label_attention", epochs=1, long_text="chunk_max", max_tokens=96
    )
    ended = train_encoder(recipe, training_data(long, long), device=CPU, hooks=Hooks())
    assert np.isfinite(ended.score(long)).all()


def test_the_default_head_is_left_out_of_stored_recipes() -> None:
    assert "head" not in EncoderRecipe().model_dump()
    assert EncoderRecipe(head="label_attention").model_dump()["head"] == "label_attention"
