"""Presets and flags become a recipe, and a wrong flag is told with the right ones."""

from operator import attrgetter

import pytest

from postq.cli.submitting.recipe_flags import field_names, parse_assignments, recipe_from_flags
from postq.contracts.presets import preset_names, preset_recipe
from postq.contracts.recipes import EncoderRecipe, TfidfRecipe
from postq.errors import BadInput, NotFound


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_without_flags_is_the_preset(name: str) -> None:
    assert recipe_from_flags(name, {}) == preset_recipe(name)


def test_flags_change_only_what_they_name() -> None:
    recipe = recipe_from_flags("legal-longformer", {"epochs": 2, "labels.min_label_count": 7})
    expected = preset_recipe("legal-longformer").model_dump()
    expected["epochs"] = 2
    expected["labels"]["min_label_count"] = 7
    assert recipe.model_dump() == expected


def test_every_field_can_be_set_to_the_value_it_has() -> None:
    for kind, preset in ((TfidfRecipe, "tfidf"), (EncoderRecipe, "legal-longformer")):
        for name in field_names(kind):
            value = attrgetter(name)(preset_recipe(preset))
            assert recipe_from_flags(preset, {name: value}) == preset_recipe(preset), name


def test_an_unknown_preset_lists_those_there_are() -> None:
    with pytest.raises(NotFound) as caught:
        recipe_from_flags("longfromer", {})
    assert "legal-longformer" in caught.value.hint


def test_an_unknown_field_suggests_the_nearest_and_lists_all() -> None:
    with pytest.raises(BadInput) as caught:
        recipe_from_flags("tfidf", {"max_feature": 10})
    assert caught.value.message == "The recipe 'tfidf' has no field 'max_feature'."
    assert "Did you mean 'max_features'?" in caught.value.hint
    assert "split.seed" in caught.value.hint


@pytest.mark.parametrize("name", ["model", "preset", "labels", "split"])
def test_what_makes_the_preset_and_whole_groups_cannot_be_set(name: str) -> None:
    with pytest.raises(BadInput):
        recipe_from_flags("tfidf", {name: "x"})


def test_an_encoder_flag_on_tfidf_is_refused() -> None:
    with pytest.raises(BadInput, match="no field 'epochs'"):
        recipe_from_flags("tfidf", {"epochs": 2})


def test_a_value_that_does_not_fit_names_the_field() -> None:
    with pytest.raises(BadInput) as caught:
        recipe_from_flags("tfidf", {"labels.min_label_count": 0})
    assert "'labels.min_label_count'" in caught.value.message


def test_assignments_are_json_or_else_text() -> None:
    pairs = ["epochs=3", "prior_bias=false", "loss=asl", "regularisation=[1, 2.5]", "backbone=a=b"]
    assert parse_assignments(pairs) == {
        "epochs": 3,
        "prior_bias": False,
        "loss": "asl",
        "regularisation": [1, 2.5],
        "backbone": "a=b",
    }


@pytest.mark.parametrize("pair", ["epochs", "=3", " =3", ""])
def test_an_assignment_without_a_name_or_a_value_is_refused(pair: str) -> None:
    with pytest.raises(BadInput, match="NAME=VALUE"):
        parse_assignments([pair])


def test_a_field_given_twice_is_refused() -> None:
    with pytest.raises(BadInput, match="'max_df' is given twice"):
        parse_assignments(["max_df=0.1", "max_df=0.2"])
    with pytest.raises(BadInput, match="'seed' is given twice"):
        parse_assignments(["seed=1"], beside={"seed": 2})
