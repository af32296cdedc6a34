"""Facets learned beside the labels: which, at what weight, by any head, and gone from what is saved."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import AutoModel, AutoModelForSequenceClassification

from postq.contracts.facets import Facets
from postq.contracts.recipes import EncoderRecipe
from postq.errors import NotTrainable
from postq.learning.bundle import open_bundle
from postq.learning.data import TrainingData
from postq.learning.encoder.forward.calling import Batch, forward_logits, runnable_form
from postq.learning.encoder.steps.window import train_window
from postq.learning.encoder.training.facet_targets import choose_facet_targets
from postq.learning.encoder.training.fine_tuning import train_encoder
from postq.learning.encoder.training.head import keep_outputs
from postq.learning.encoder.training.prepared import fresh_backbone
from postq.learning.hooks import Hooks
from postq.learning.scoring import load_scorer
from postq.learning.training import train_bundle
from tests.unit.learning.encoder.bench import build_bench, text_of
from tests.unit.learning.encoder.material import (
    CPU,
    FACET_TARGETS,
    FACETS,
    LABELS,
    document,
    opinions,
    training_data,
)

DATA = replace(training_data(opinions(24), opinions(10, start=100)), test=opinions(8, start=200))
Recipe = Callable[..., EncoderRecipe]


def slow_targets(facets: Facets, data: TrainingData) -> dict[str, list[bool]]:
    """Target → which training documents are of it, one document and one label at a time."""

    def above(label: str) -> set[str]:
        parents = next((one.parents for one in facets.labels if one.label == label), ())
        return {parent for one in parents for parent in {one, *above(one)}}

    def named(label: str) -> set[str]:
        for one in facets.labels:
            if one.label == label:
                own = {f"facet: {each}" for each in one.facets} | {f"broader: {up}" for up in above(label)}
                own |= {f"group: {one.group}"} if one.group else set()
                return own | (
                    {f"broader: {label}"} if any(label in above(o.label) for o in facets.labels) else set()
                )
        return set()

    rows = [{name for label in one.labels for name in named(label)} for one in data.train]
    known = [[label in one.labels for one in data.train] for label in data.labels]
    kept: dict[str, list[bool]] = {}
    order = {"facet": 0, "group": 1, "broader": 2}
    for name in sorted(set().union(*rows), key=lambda name: (order[name.split(":")[0]], name)):
        column = [name in row for row in rows]
        if any(column) and not all(column) and column not in known and column not in kept.values():
            kept[name] = column
    return kept


def test_targets_are_those_that_tell_more_than_a_label(tiny_recipe: Recipe) -> None:
    recipe = tiny_recipe(facets=FACETS, facet_loss=0.5)
    found = choose_facet_targets(recipe, DATA)
    slow = slow_targets(FACETS, DATA)
    assert found.names == FACET_TARGETS == tuple(slow)
    assert found.of(DATA.train).T.tolist() == list(slow.values())


def test_labels_too_rare_to_be_learned_make_documents_of_their_facets(tiny_recipe: Recipe) -> None:
    rare = [document(900 + at, "order of the court", labels=["Unheard of"]) for at in range(2)]
    data = training_data([*DATA.train, *rare], DATA.validation)
    recipe = tiny_recipe(facets=FACETS, facet_loss=0.5)
    found = choose_facet_targets(recipe, data)
    slow = slow_targets(FACETS, data)
    assert set(found.names) == {*FACET_TARGETS, "facet: rumour", "broader: Motion to Dismiss"} == set(slow)
    assert found.of(data.train).T.tolist() == list(slow.values())


def test_nothing_to_learn_is_refused_and_no_weight_asks_for_nothing(tiny_recipe: Recipe) -> None:
    assert choose_facet_targets(tiny_recipe(facets=FACETS), DATA).names == ()
    with pytest.raises(NotTrainable, match="has none"):
        choose_facet_targets(tiny_recipe(facet_loss=0.1), DATA)
    lone = Facets.model_validate({"labels": [{"label": "Sentencing", "facets": ["a"]}]})
    with pytest.raises(NotTrainable, match="nothing to learn"):
        choose_facet_targets(tiny_recipe(facets=lone, facet_loss=0.1), DATA)


@pytest.mark.parametrize("loss", ["bce", "bce_pos_weight", "asl", "focal"])
def test_a_step_follows_the_mean_of_the_label_loss_and_the_weighted_facet_loss(loss: str) -> None:
    texts = [text_of(range(1 + i, 4 + 2 * i)) for i in range(6)]
    bench, state = build_bench(texts, loss=loss, facet_loss=0.3, max_gradient_norm=1e9)
    reference, _ = build_bench(texts, loss=loss, facet_loss=0.3)
    total = torch.zeros(())
    for at, text in enumerate(texts):
        logits = forward_logits(reference.model, Batch(pieces=text.pieces))[0]
        own = reference.loss(logits[None, :2], reference.examples.targets[[at]]).mean()
        beside = binary_cross_entropy_with_logits(logits[2], reference.examples.facets[at, 0])
        total = total + (own + 0.3 * beside) / len(texts)
    total.backward()  # type: ignore[no-untyped-call]
    gradients: dict[str, Any] = {}
    bench.optimizer.register_step_pre_hook(
        lambda *_: gradients.update(
            {name: w.grad.clone() for name, w in bench.model.named_parameters() if w.grad is not None}
        )
    )
    train_window(bench, state, np.arange(6), pause=lambda: None)
    assert state.epoch_sums.loss / 6 == pytest.approx(float(total.detach()), abs=1e-6)
    for name, weight in reference.model.named_parameters():
        torch.testing.assert_close(gradients[name], weight.grad, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("head", ["pooled", "label_attention"])
@pytest.mark.parametrize("backbone", ["packed", "padded"])
def test_the_labels_outputs_stay_when_the_others_go(
    head: str, backbone: str, tiny_backbone: Path, tiny_bert: Path, tiny_recipe: Recipe
) -> None:
    source = tiny_backbone if backbone == "packed" else tiny_bert
    recipe = tiny_recipe(backbone=str(source), max_tokens=32, head=head)
    model: Any = fresh_backbone(recipe, LABELS, FACET_TARGETS).model.eval()
    batch = Batch(pieces=tuple(np.arange(5, 9 + at, dtype=np.int32) for at in range(3)))
    wide = forward_logits(runnable_form(model).eval(), batch)
    assert wide.shape == (3, 5)
    keep_outputs(model, labels=LABELS, outputs=5)
    narrow = forward_logits(runnable_form(model).eval(), batch)
    assert narrow.shape == (3, 3)
    torch.testing.assert_close(narrow, wide[:, :3], rtol=0, atol=1e-6)
    assert tuple(model.config.id2label.values()) == LABELS


@pytest.mark.parametrize("head", ["pooled", "label_attention"])
def test_a_bundle_that_learned_facets_is_one_of_its_labels_alone(
    head: str, tiny_recipe: Recipe, tmp_path: Path
) -> None:
    recipe = tiny_recipe(facets=FACETS, facet_loss=0.5, head=head, epochs=1, rules="most_specific")
    facts = train_bundle(recipe, DATA, output=tmp_path / "bundle", name="tiny", device=CPU, hooks=Hooks())
    bundle = open_bundle(tmp_path / "bundle", expected_digest=facts["digest"])
    assert bundle.recipe == recipe, "a training can be done again without the file"
    kind = AutoModelForSequenceClassification if head == "pooled" else AutoModel
    plain: Any = kind.from_pretrained(bundle.path)
    assert tuple(plain.config.id2label.values()) == LABELS
    assert not any("facet" in str(name) for name in plain.config.id2label.values())
    scored = list(load_scorer(bundle, CPU).score(DATA.test, on_failure=pytest.fail))
    assert {batch.scores.shape[1] for batch in scored} == {len(LABELS)}


def test_facets_change_what_is_learned_and_the_loss_shown_holds_theirs(tiny_recipe: Recipe) -> None:
    plain = train_encoder(tiny_recipe(epochs=1), DATA, device=CPU, hooks=Hooks())
    beside = train_encoder(
        tiny_recipe(epochs=1, facets=FACETS, facet_loss=0.5), DATA, device=CPU, hooks=Hooks()
    )
    assert beside.facts["facet_targets"] == list(FACET_TARGETS)
    assert "facet_targets" not in plain.facts
    assert beside.facts["parameters"] == plain.facts["parameters"]
    for entry in beside.history:
        assert entry["train_loss"] > entry["train_loss_unweighted"] + 0.1
        assert entry["val_loss"] == entry["val_loss_unweighted"]
    assert not np.array_equal(plain.score(DATA.validation), beside.score(DATA.validation))
