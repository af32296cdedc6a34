"""Presets are the recipes they are named for."""

import pytest

from postq.contracts.presets import PRESETS, preset_names, preset_recipe
from postq.contracts.recipes import EncoderRecipe, TfidfRecipe
from postq.errors import NotFound


def test_legal_longformer_is_the_published_recipe_row_by_row() -> None:
    recipe = preset_recipe("legal-longformer")
    assert isinstance(recipe, EncoderRecipe)
    assert recipe.text == "paragraphs"
    assert (recipe.labels.min_label_count, recipe.labels.keep_unlabelled) == (50, False)
    assert (recipe.split.train, recipe.split.validation, recipe.split.seed) == (0.70, 0.15, 42)
    assert (recipe.split.method, recipe.split.official) == ("random", False)
    assert (recipe.backbone, recipe.max_tokens) == ("lexlms/legal-longformer-base", 4096)
    assert (recipe.batch_documents, recipe.accumulation, recipe.epochs) == (4, 4, 5)
    assert (recipe.learning_rate, recipe.warmup_share) == (1e-5, 0.1)
    assert (recipe.weight_decay, recipe.max_gradient_norm) == (0.01, 1.0)
    assert (recipe.patience, recipe.select_on) == (2, "f1_at_0.5")
    assert (recipe.loss, recipe.pos_weight_power, recipe.pos_weight_cap) == ("bce_pos_weight", 1.0, 50.0)
    assert recipe.thresholds == "per_label"


def test_the_published_schedule_bug_is_off_unless_asked_for() -> None:
    recipe = preset_recipe("legal-longformer")
    assert isinstance(recipe, EncoderRecipe)
    assert not recipe.schedule_bug
    assert recipe.model_copy(update={"schedule_bug": True}).schedule_bug


def test_the_published_baseline_is_tf_idf_as_it_was() -> None:
    recipe = preset_recipe("recipe-tfidf")
    assert isinstance(recipe, TfidfRecipe)
    assert (recipe.max_features, recipe.ngram_max, recipe.min_df, recipe.max_df) == (10_000, 2, 2, 0.95)
    assert (recipe.stop_words, recipe.class_weight, recipe.term_weightings) == (
        "english",
        "balanced",
        ("raw",),
    )
    assert recipe.split == preset_recipe("legal-longformer").split
    assert recipe.labels == preset_recipe("legal-longformer").labels


def test_postq_s_own_defaults_keep_unlabelled_documents_and_select_without_a_threshold() -> None:
    recipe = preset_recipe("default")
    assert isinstance(recipe, EncoderRecipe)
    assert recipe.labels.keep_unlabelled
    assert (recipe.loss, recipe.select_on, recipe.prior_bias) == ("bce", "map", True)
    assert preset_recipe("longformer") == recipe


@pytest.mark.parametrize("name", preset_names())
def test_every_name_gives_a_recipe_that_knows_its_preset(name: str) -> None:
    assert preset_recipe(name).preset in PRESETS


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(NotFound) as refused:
        preset_recipe("bert")
    assert "legal-longformer" in refused.value.hint
