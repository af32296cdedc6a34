"""The next shard is claimed when the one in hand is nearly done, and given up when that was an error."""

from dataclasses import replace

import pytest
import sqlalchemy as sa

from postq.contracts.runner import Finished, Stopped
from postq.errors import DatabaseUnavailable
from postq.models.tables import shard
from postq.worker.runner_process import Heard
from tests.unit.worker.scene import Scene, progress


@pytest.fixture
def ahead(scene: Scene) -> Scene:
    """A scene whose watches may claim the next shard."""
    scene.looks_ahead = True
    return scene


def test_when_an_attempt_is_nearly_done_the_next_shard_is_claimed_and_prepared(ahead: Scene) -> None:
    # Given two documents a second: with three to go it is too early, with one it is time
    steps = [progress(2), ahead.passes(2.5), progress(7), ahead.passes(1), progress(9)]
    ahead.watch(*steps, Finished())
    (following,) = ahead.prepared
    assert (following.start_row, following.worker_id) == (10, "me")
    taken = ahead.claims.take()
    assert taken is not None
    assert taken.lease == following
    assert taken.at == pytest.approx(1004.0, abs=0.5)


@pytest.mark.parametrize(
    "told",
    [
        [progress(9)],  # no pace yet
        [progress(1, "loading"), progress(9, "loading")],
        [progress(1), progress(10)],  # the end is there
    ],
)
def test_nothing_is_claimed_ahead_without_a_pace(ahead: Scene, told: list[Heard]) -> None:
    ahead.watch(*told, Finished())
    assert ahead.claims.held_seconds == 0
    assert ahead.prepared == []


def test_nothing_is_claimed_ahead_of_an_attempt_that_is_to_stop(ahead: Scene) -> None:
    ahead.draining = True
    ahead.watch(progress(8), ahead.passes(0.1), progress(9), Stopped())
    assert ahead.claims.held_seconds == 0


def test_a_shard_claimed_ahead_is_given_back_if_the_one_in_hand_takes_long_after_all(ahead: Scene) -> None:
    steps = [progress(8), ahead.passes(0.1), progress(9)]
    ahead.watch(*steps, *[ahead.passes(5)] * 4, Finished())
    assert len(ahead.prepared) == 1
    assert ahead.claims.held_seconds == 0
    assert ahead.states() == ["leased", "ready", "ready"]


@pytest.mark.parametrize("spoilt", ["in hand", "next"])
def test_no_shard_that_failed_before_has_part_in_reading_ahead(ahead: Scene, spoilt: str) -> None:
    # For if a document ends the runner while it is read ahead, the shard in hand is blamed.
    if spoilt == "in hand":
        ahead.lease = replace(ahead.lease, crashes=1)
    else:
        with ahead.database.transaction() as session:
            session.execute(sa.update(shard).where(shard.c.start_row == 10).values(crashes=1))
    ahead.watch(progress(8), ahead.passes(0.1), progress(9), Finished())
    assert ahead.prepared == []
    assert (ahead.claims.held_seconds > 0) == (spoilt == "next")


def test_a_budget_of_one_crash_is_not_put_at_risk(ahead: Scene) -> None:
    ahead.settings = ahead.settings.model_copy(update={"crash_budget": 1})
    ahead.watch(progress(8), ahead.passes(0.1), progress(9), Finished())
    assert ahead.claims.held_seconds == 0


def test_an_error_in_claiming_ahead_leaves_the_attempt_in_hand_alone(
    ahead: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0

    def broken() -> None:
        nonlocal calls
        calls += 1
        raise DatabaseUnavailable("The database cannot be used.", hint="Wait.")

    monkeypatch.setattr(ahead.claims, "hold", broken)
    ending, _ = ahead.watch(progress(7), ahead.passes(0.1), progress(8), progress(9), Finished())
    assert isinstance(ending, Finished)
    assert calls == 1


def test_a_shard_that_cannot_be_given_back_yet_stays_held(ahead: Scene) -> None:
    def leave() -> None:
        ahead.away = True

    def return_() -> None:
        ahead.away = False

    steps = [progress(8), ahead.passes(0.1), progress(9), ahead.passes(14), leave, ahead.passes(2)]
    ahead.watch(*steps, return_, Finished())
    assert ahead.claims.held_seconds == 0
    assert ahead.states() == ["leased", "ready", "ready"]


def test_a_shard_held_for_long_is_not_begun_but_claimed_anew(ahead: Scene) -> None:
    ahead.watch(progress(8), ahead.passes(0.1), progress(9), Finished())
    (held,) = ahead.prepared
    ahead.clock.now += 20
    taken = ahead.claims.take()
    assert taken is not None
    assert (taken.lease.shard_id, taken.lease.token) == (held.shard_id, held.token + 1)
    assert taken.lease.attempts == 0


def test_an_error_of_ours_in_giving_back_harms_nothing_else(
    ahead: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("postq.worker.claims.release", broken)
    steps = [progress(8), ahead.passes(0.1), progress(9), ahead.passes(16)]
    ending, _ = ahead.watch(*steps, Finished())
    assert isinstance(ending, Finished)
    assert ahead.claims.held_seconds == 0
    assert ahead.states() == ["leased", "leased", "ready"]
