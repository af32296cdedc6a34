"""Training as a whole: it learns, chooses, stops, tells, and writes what plain transformers reads."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    LongformerForSequenceClassification,
)

from postq.contracts.recipes import EncoderRecipe
from postq.errors import DeviceOccupied, LossNotFinite, NotTrainable
from postq.learning.encoder.backbones.loading import load_backbone
from postq.learning.encoder.steps.losses import positive_weight
from postq.learning.encoder.training.fine_tuning import train_encoder
from postq.learning.encoder.training.trained import TrainedEncoder
from postq.learning.hooks import StopRequested
from tests.unit.learning.encoder.material import CPU, LABELS, document, opinions, training_data
from tests.unit.learning.encoder.recorder import Recorder

TRAIN, VALIDATION = opinions(120), opinions(40, start=200)
DATA = training_data(TRAIN, VALIDATION)
MakeRecipe = Callable[..., EncoderRecipe]


@pytest.fixture(scope="module")
def told() -> Recorder:
    return Recorder()


def learning_recipe(backbone: Path, **other: Any) -> EncoderRecipe:
    """One with which a small random backbone learns the material."""
    return EncoderRecipe(
        backbone=str(backbone),
        max_tokens=128,
        epochs=6,
        batch_documents=4,
        accumulation=2,
        learning_rate=4e-3,
        patience=0,
        **other,
    )


@pytest.fixture(scope="module")
def trained(tiny_backbone: Path, told: Recorder) -> TrainedEncoder:
    return train_encoder(learning_recipe(tiny_backbone), DATA, device=CPU, hooks=told.hooks)


def quick(data: Any, recipe: EncoderRecipe, told: Recorder | None = None, **options: Any) -> TrainedEncoder:
    return train_encoder(recipe, data, device=CPU, hooks=(told or Recorder()).hooks, **options)


def test_it_learns_what_can_be_learned(trained: TrainedEncoder) -> None:
    losses = [entry["train_loss"] for entry in trained.history]
    assert losses[-1] < 0.5 * losses[0]
    assert trained.facts["best_value"] > 0.9


def test_the_kept_model_is_the_best_epoch_s(trained: TrainedEncoder) -> None:
    best = max(trained.history, key=lambda entry: entry["val_map"])
    assert trained.facts["best_epoch"] == best["epoch"]
    scores = trained.score(VALIDATION)
    truth = np.array([[label in each.labels for label in LABELS] for each in VALIDATION])
    likelihood = np.where(truth, np.log(scores), np.log1p(-scores))
    assert -likelihood.mean() == pytest.approx(best["val_loss"], rel=1e-4)


def test_in_bfloat16_it_learns_as_well(trained: TrainedEncoder, tiny_backbone: Path) -> None:
    narrow = quick(DATA, learning_recipe(tiny_backbone, precision="bf16"))
    assert (trained.facts["precision"], narrow.facts["precision"]) == ("fp32", "bf16-autocast")
    assert {weight.dtype for weight in narrow.model.parameters()} == {torch.float32}
    for ours, theirs in zip(narrow.history, trained.history, strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=0.1)
    assert narrow.facts["best_value"] > 0.9


def test_a_healthy_training_sets_off_no_alarm(told: Recorder, trained: TrainedEncoder) -> None:
    assert [event for event in told.events if event != "UNDERTRAINED"] == []
    assert [found.event for found in trained.detections] == told.events


def test_steps_rates_and_progress_add_up(trained: TrainedEncoder, told: Recorder) -> None:
    facts = trained.facts
    assert facts["optimizer_steps"] == facts["scheduler_steps"] == facts["planned_steps"] == 90
    assert (facts["warmup_steps"], facts["final_rate"]) == (9, 0.0)
    assert [entry["steps"] for entry in trained.history] == [15, 30, 45, 60, 75, 90]
    training = [entry for entry in told.progress if entry[0] == "training"]
    assert training[-1][1:3] == (720, 720)
    assert all(after[1] >= before[1] for before, after in pairwise(training))
    assert training[-1][3]["loss"] == pytest.approx(trained.history[-1]["train_loss"])


def test_plain_transformers_loads_the_written_model_and_agrees(
    trained: TrainedEncoder, tmp_path: Path
) -> None:
    trained.write_model_files(tmp_path)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = VALIDATION[0].text
    inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=128)
    with torch.no_grad():
        scores = torch.sigmoid(model(**inputs).logits).numpy()
    np.testing.assert_allclose(scores, trained.score(VALIDATION[:1]), atol=1e-5)
    assert model.config.problem_type == "multi_label_classification"
    assert tuple(model.config.id2label.values()) == LABELS
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_equal_seeds_train_equal_models_and_other_seeds_do_not(tiny_recipe: MakeRecipe) -> None:
    data = training_data(TRAIN[:16], VALIDATION[:8])
    first, second = (quick(data, tiny_recipe(epochs=1)).score(VALIDATION) for _ in range(2))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, quick(data, tiny_recipe(epochs=1, seed=7)).score(VALIDATION))


def test_patience_ends_a_training_that_gets_no_better(tiny_recipe: MakeRecipe) -> None:
    data = training_data(TRAIN[:16], VALIDATION[:8])
    recipe = tiny_recipe(epochs=9, patience=2, learning_rate=1e-12, warmup_share=0.0)
    ended = quick(data, recipe)
    assert len(ended.history) == 3
    assert ended.facts["stopped_early"]
    assert ended.facts["best_epoch"] == 1


def test_a_smaller_micro_batch_changes_nothing_but_rounding(tiny_recipe: MakeRecipe) -> None:
    data = training_data(TRAIN[:30], VALIDATION[:10])
    recipe = tiny_recipe(epochs=1, attention_dropout=0.0)
    whole = quick(data, recipe, tokens_per_batch=1000)
    halved = quick(data, recipe, tokens_per_batch=1000, batch_divisor=4)
    assert (whole.facts["micro_tokens"], halved.facts["micro_tokens"]) == (1000, 250)
    assert whole.facts["optimizer_steps"] == halved.facts["optimizer_steps"]


def test_debiased_scores_are_shifted_by_the_log_of_the_positive_weight(tiny_recipe: MakeRecipe) -> None:
    data = training_data(TRAIN[:16], VALIDATION[:8])
    recipe = tiny_recipe(epochs=1, loss="bce_pos_weight")
    plain, debiased = (quick(data, recipe.model_copy(update={"debias": on})) for on in (False, True))
    share = np.mean([[label in each.labels for label in LABELS] for each in TRAIN[:16]], axis=0)
    weight = positive_weight(share, power=1.0, cap=50.0)
    before, after = plain.score(VALIDATION), debiased.score(VALIDATION)
    np.testing.assert_allclose(after / (1 - after), before / (1 - before) / weight, rtol=1e-4)
    assert (plain.score_space, debiased.score_space) == ("sigmoid", "sigmoid-debiased")


def test_the_output_bias_starts_at_the_prior_only_if_asked(tiny_recipe: MakeRecipe) -> None:
    data = training_data(TRAIN[:16], VALIDATION[:8])
    still = {"epochs": 1, "learning_rate": 1e-12}
    share = np.mean([[label in each.labels for label in LABELS] for each in TRAIN[:16]], axis=0)
    with_prior = quick(data, tiny_recipe(**still)).score(VALIDATION).mean(axis=0)
    without = quick(data, tiny_recipe(**still, prior_bias=False)).score(VALIDATION).mean(axis=0)
    assert np.abs(with_prior - share).max() < 0.15
    assert np.abs(without - 0.5).max() < 0.15


@pytest.mark.parametrize("strategy", ["truncate", "head_tail", "chunk_max", "chunk_mean"])
def test_every_long_text_strategy_trains_and_scores(strategy: str, tiny_recipe: MakeRecipe) -> None:
    long = opinions(12, shortest=150, longest=300)
    chunked = strategy.startswith("chunk")
    recipe = tiny_recipe(epochs=1, long_text=strategy, max_tokens=256 if chunked else 64)
    told = Recorder()
    ended = quick(training_data(long, long), recipe, told)
    assert np.isfinite(ended.score(long)).all()
    assert 0 < ended.facts["share_of_tokens_seen"] < 1


def test_a_training_document_without_a_known_token_is_left_out_and_told(
    tiny_bert: Path, tiny_recipe: MakeRecipe
) -> None:
    greek = document(900, "λόγος ἀρχή " * 10, labels=LABELS[:1])
    told = Recorder()
    recipe = tiny_recipe(backbone=str(tiny_bert), max_tokens=32, epochs=1)
    ended = quick(training_data([*TRAIN[:8], greek], VALIDATION[:8]), recipe, told)
    assert ended.facts["unreadable"] == {"train": 1, "validation": 0}
    assert "EMPTY" in told.events


def test_a_document_that_cannot_be_read_scores_zero_with_a_note(
    tiny_bert: Path, tiny_recipe: MakeRecipe
) -> None:
    recipe = tiny_recipe(backbone=str(tiny_bert), max_tokens=32, epochs=1)
    ended = quick(training_data(TRAIN[:8], VALIDATION[:8]), recipe)
    told = Recorder()
    scores = ended.score([VALIDATION[0], document(901, "λόγος")], hooks=told.hooks)
    assert (scores[1] == 0).all()
    assert (scores[0] > 0).all()
    assert told.events == ["EMPTY"]


def test_the_schedule_bug_is_reproduced_on_request_and_reported(tiny_recipe: MakeRecipe) -> None:
    told = Recorder()
    recipe = tiny_recipe(accumulation=4, batch_documents=2, schedule_bug=True, epochs=5)
    ended = quick(training_data(TRAIN[:16], VALIDATION[:8]), recipe, told)
    assert ended.facts["final_rate"] == pytest.approx(0.83 * recipe.learning_rate, rel=0.01)
    assert "SCHEDULE" in told.events


def test_an_exploding_training_ends_with_a_clear_error(tiny_recipe: MakeRecipe) -> None:
    recipe = tiny_recipe(learning_rate=1e30, warmup_share=0.0, epochs=3)
    with pytest.raises(LossNotFinite, match=r"not a number|NaN"):
        quick(training_data(TRAIN[:24], VALIDATION[:8]), recipe)


def test_one_label_only_can_be_trained(tiny_recipe: MakeRecipe) -> None:
    data = training_data(TRAIN[:16], VALIDATION[:8])
    single = type(data)(**{**{f: getattr(data, f) for f in data.__slots__}, "labels": LABELS[:1]})
    assert quick(single, tiny_recipe(epochs=1)).score(VALIDATION[:2]).shape == (2, 1)


def test_a_label_without_positives_is_reported_and_stays_finite(tiny_recipe: MakeRecipe) -> None:
    only = [each for each in TRAIN if LABELS[2] not in each.labels][:16]
    told = Recorder()
    recipe = tiny_recipe(epochs=1, loss="bce_pos_weight")
    ended = quick(training_data(only, VALIDATION[:8]), recipe, told)
    assert np.isfinite(ended.score(VALIDATION)).all()
    assert "EMPTY" in told.events


def test_without_a_positive_in_validation_the_loss_chooses_the_epoch(tiny_recipe: MakeRecipe) -> None:
    bare = [replace(each, labels=()) for each in VALIDATION[:12]]
    ended = quick(training_data(TRAIN[:32], bare), tiny_recipe(epochs=3, patience=0))
    losses = [entry["val_loss"] for entry in ended.history]
    assert ended.facts["best_epoch"] == 1 + losses.index(min(losses))
    assert [entry["selected"] for entry in ended.history] == [-loss for loss in losses]


def test_a_training_of_one_step_takes_it(tiny_recipe: MakeRecipe) -> None:
    recipe = tiny_recipe(epochs=1, batch_documents=16, accumulation=1)
    untouched = load_backbone(recipe.backbone, labels=LABELS, max_tokens=recipe.max_tokens).model
    ended = quick(training_data(TRAIN[:8], VALIDATION[:8]), recipe)
    assert (ended.facts["warmup_steps"], len(ended.history)) == (0, 1)
    name = "longformer.encoder.layer.0.output.dense.weight"
    assert not torch.equal(ended.model.state_dict()[name], untouched.state_dict()[name])


def test_a_model_without_gradient_checkpointing_says_so(
    tiny_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LongformerForSequenceClassification, "supports_gradient_checkpointing", False)
    told = Recorder()
    recipe = tiny_recipe(epochs=1, gradient_checkpointing=True)
    assert not quick(training_data(TRAIN[:8], VALIDATION[:8]), recipe, told).facts["gradient_checkpointing"]
    assert "GRADIENT_CHECKPOINTING" in told.events


@pytest.mark.parametrize(("train", "validation"), [([], VALIDATION), (TRAIN, [])])
def test_an_empty_split_is_refused(train: Any, validation: Any, tiny_recipe: MakeRecipe) -> None:
    with pytest.raises(NotTrainable, match="split is empty"):
        quick(training_data(train, validation), tiny_recipe())


def test_a_stop_before_the_first_step_stops(tiny_recipe: MakeRecipe) -> None:
    with pytest.raises(StopRequested):
        quick(DATA, tiny_recipe(), Recorder(stop_after=1))


def test_a_model_that_does_not_fit_says_so_before_any_batch(
    tiny_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(torch.nn.Module, "to", full)
    with pytest.raises(DeviceOccupied, match="does not fit into what is left"):
        quick(DATA, tiny_recipe())


def test_gradient_checkpointing_takes_the_same_steps(tiny_recipe: MakeRecipe) -> None:
    data = training_data(TRAIN[:16], VALIDATION[:8])
    recipe = tiny_recipe(epochs=1, attention_dropout=0.0)
    plain = quick(data, recipe)
    saving = quick(data, recipe.model_copy(update={"gradient_checkpointing": True}))
    assert saving.facts["gradient_checkpointing"]
    np.testing.assert_allclose(saving.score(VALIDATION), plain.score(VALIDATION), atol=1e-4)


def test_the_preset_s_dropout_can_be_overridden(tiny_backbone: Path) -> None:
    backbone = load_backbone(str(tiny_backbone), labels=LABELS, max_tokens=128, attention_dropout=0.25)
    config: Any = backbone.model.config
    assert config.attention_probs_dropout_prob == 0.25
