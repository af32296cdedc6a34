"""The schedule is counted in optimizer steps, and the bug it replaces can be had on request."""

import pytest

from postq.contracts.recipes import EncoderRecipe
from postq.learning.encoder.steps.optimizer import build_optimizer, build_scheduler, plan_schedule
from tests.unit.learning.encoder.bench import BagOfTokens


def rates(recipe: EncoderRecipe, *, documents: int) -> list[float]:
    """The rate of each step relative to the peak, and the one after the last."""
    plan = plan_schedule(documents, recipe)
    optimizer = build_optimizer(BagOfTokens(), recipe)
    scheduler = build_scheduler(optimizer, plan)
    seen = []
    for _ in range(plan.optimizer_steps):
        seen.append(optimizer.param_groups[0]["lr"] / recipe.learning_rate)
        optimizer.step()
        scheduler.step()
    return [*seen, optimizer.param_groups[0]["lr"] / recipe.learning_rate]


def test_the_rate_rises_for_the_stated_share_and_ends_at_zero() -> None:
    seen = rates(EncoderRecipe(epochs=5, warmup_share=0.1), documents=16 * 20)
    assert len(seen) == 101
    assert max(range(101), key=seen.__getitem__) == 10
    assert seen[10] == 1.0
    assert seen[-1] == 0.0
    assert seen[55] == pytest.approx(0.5)


def test_a_last_partial_window_is_a_step_of_its_own() -> None:
    assert plan_schedule(33, EncoderRecipe(epochs=3)).optimizer_steps == 9


def test_the_schedule_bug_warms_up_over_forty_percent_and_ends_at_83_percent() -> None:
    recipe = EncoderRecipe(epochs=5, batch_documents=4, accumulation=4, schedule_bug=True)
    seen = rates(recipe, documents=16 * 20)
    assert seen.index(max(seen)) == 40
    assert seen[-1] == pytest.approx(0.833, abs=0.001)


def test_norms_and_biases_do_not_decay() -> None:
    model = BagOfTokens()
    decaying, still = build_optimizer(model, EncoderRecipe()).param_groups
    assert [group["weight_decay"] for group in (decaying, still)] == [0.01, 0.0]
    assert [tuple(w.shape) for w in still["params"]] == [(2,)]
    assert len(decaying["params"]) == 2
