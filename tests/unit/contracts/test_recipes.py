"""What no training could use is refused with the recipe, before anything is submitted."""

from typing import Any

import pytest
from pydantic import ValidationError

from postq.contracts.recipes import EncoderRecipe, SplitRecipe, TfidfRecipe


@pytest.mark.parametrize("seed", [-1, 2**63])
@pytest.mark.parametrize("recipe", [SplitRecipe, TfidfRecipe, EncoderRecipe])
def test_a_seed_that_no_generator_takes_is_refused(recipe: type[Any], seed: int) -> None:
    needed = {"preset": "x", "backbone": "./here"} if recipe is EncoderRecipe else {}
    with pytest.raises(ValidationError, match="seed"):
        recipe(seed=seed, **needed)
    assert recipe(seed=2**63 - 1, **needed).seed == 2**63 - 1


@pytest.mark.parametrize("rate", [0.0, float("inf"), float("nan")])
def test_a_learning_rate_is_a_positive_number(rate: float) -> None:
    with pytest.raises(ValidationError, match="learning_rate"):
        EncoderRecipe(preset="x", backbone="./here", learning_rate=rate)
