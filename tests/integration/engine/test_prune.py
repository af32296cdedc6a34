"""Forgetting old jobs: what goes, what stays and why, and that a crash in between loses nothing else."""

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from postq.errors import Conflict, NotFound
from postq.jobs.prune import clear_files, forget_job, old_jobs, sweep_predictions
from postq.jobs.schedules import add_schedule, remove_schedule
from postq.models.bundle import BundleRow
from postq.models.tables import attempt, event, job, prediction, prediction_label, quarantine, shard
from postq.registry.removal import remove_bundle, remove_corpus
from tests.integration.engine.world import World

HISTORY = (job, shard, attempt, event, quarantine, prediction, prediction_label)


def two_classifications(world: World) -> tuple[int, int]:
    """One long ago, with a quarantined document, and one today."""
    world.add_corpus(10)
    world.add_bundle()
    first = world.classify(1)
    while lease := world.claim():
        world.commit(lease, failing={5: "unreadable"} if lease.start_row <= 5 < lease.stop_row else None)
    world.later(86_400)
    second = world.classify(1)
    world.work_off()
    return first, second


def reasons(world: World, **options: object) -> dict[int, str]:
    with world.database.reading() as session:
        listed = old_jobs(session, before=world.now + timedelta(seconds=1), **options)  # type: ignore[arg-type]
    return {old.job_id: old.kept for old in listed}


def forget(world: World, job_id: int) -> None:
    with world.session() as session:
        forget_job(session, job_id)


def sweep(world: World, *, limit: int = 1000) -> int:
    with world.session() as session:
        return sweep_predictions(session, limit=limit)


def left_of(world: World, job_id: int) -> dict[str, int]:
    """Rows of a job in every table that has any."""
    counts = {}
    with world.database.reading() as session:
        for table in HISTORY:
            key = table.c.id if table is job else table.c.job_id
            counts[table.name] = session.scalar(sa.select(sa.func.count()).where(key == job_id)) or 0
    return {name: number for name, number in counts.items() if number}


def test_a_forgotten_job_leaves_no_row_and_the_others_stand(world: World) -> None:
    first, second = two_classifications(world)
    before = left_of(world, second)
    forget(world, first)
    assert set(left_of(world, first)) == {"prediction", "prediction_label"}
    assert sweep(world) == 9
    assert left_of(world, first) == {}
    assert left_of(world, second) == before
    world.verify_all()


def test_a_training_repeated_after_the_first_was_forgotten_becomes_its_bundle_s_own(world: World) -> None:
    first, second = two_classifications(world)
    made = world.add_bundle(weights="w2", job_id=first)
    for forgotten, owner in ((False, first), (True, second)):
        if forgotten:
            forget(world, first)
        assert world.add_bundle(weights="w2", job_id=second) == made
        with world.database.reading() as session:
            assert session.get_one(BundleRow, made).job_id == owner


def test_predictions_go_in_batches_and_an_interrupted_sweep_is_taken_up_again(world: World) -> None:
    first, second = two_classifications(world)
    kept = left_of(world, second)["prediction"]
    forget(world, first)
    assert [sweep(world, limit=4) for _ in range(4)] == [4, 4, 1, 0]
    assert left_of(world, second)["prediction"] == kept


def test_the_newest_job_stays_since_its_number_would_be_given_away_again(world: World) -> None:
    first, second = two_classifications(world)
    assert reasons(world) == {first: "", second: "it is the newest job"}


def test_only_what_ended_before_the_time_is_listed(world: World) -> None:
    first, _ = two_classifications(world)
    with world.database.reading() as session:
        listed = old_jobs(session, before=world.now - timedelta(hours=1))
        assert old_jobs(session, before=world.now - timedelta(days=2)) == []
    assert [old.job_id for old in listed] == [first]


def test_kinds_can_be_chosen(world: World) -> None:
    world.add_corpus(4)
    trained = world.train(1)
    world.work_off()
    classified = world.classify(1, f"job:{trained}")
    world.work_off()
    world.classify(1, f"job:{trained}")
    world.work_off()
    assert list(reasons(world, kinds=["train"])) == [trained]
    assert list(reasons(world, kinds=["classify"])) == [classified, classified + 1]


def test_a_job_that_another_one_came_after_stays_with_it_and_goes_with_it(world: World) -> None:
    world.add_corpus(4)
    world.add_bundle()
    first = world.classify(1)
    second = world.classify(1, after_job_id=first)
    third = world.classify(1, after_job_id=second)
    assert reasons(world) == {}
    world.work_off()
    stays = "a job that stays came after it"
    assert reasons(world) == {first: stays, second: stays, third: "it is the newest job"}
    with pytest.raises(Conflict, match="came after job"):
        forget(world, second)
    world.classify(1)
    assert reasons(world) == {first: "", second: "", third: ""}
    for job_id in (third, second, first):
        forget(world, job_id)


def test_a_job_that_has_not_ended_is_refused_and_so_is_one_that_is_not_there(world: World) -> None:
    world.add_corpus(4)
    world.add_bundle()
    with pytest.raises(Conflict, match="is ready"):
        forget(world, world.classify(1))
    with pytest.raises(NotFound):
        forget(world, 99)


def test_predictions_a_schedule_builds_on_stay_until_it_is_removed(world: World) -> None:
    first, _ = two_classifications(world)
    with world.session() as session:
        nightly = {"cron": "0 2 * * *", "timezone": "UTC", "corpus": "opinions", "bundle": "postures"}
        add_schedule(session, name="nightly", now=world.now, **nightly)
    assert reasons(world)[first] == "a schedule builds on its predictions"
    with world.session() as session:
        remove_schedule(session, "nightly", now=world.now)
    assert reasons(world)[first] == ""


def test_another_bundle_in_production_frees_the_predictions_of_the_old_one(world: World) -> None:
    first, _ = two_classifications(world)
    world.add_bundle(weights="w2")
    with world.session() as session:
        nightly = {"cron": "0 2 * * *", "timezone": "UTC", "corpus": "opinions", "bundle": "postures"}
        add_schedule(session, name="nightly", now=world.now, **nightly)
    assert reasons(world)[first] == ""


def test_a_training_that_a_schedule_or_a_blocked_job_calls_its_bundle_by_stays(world: World) -> None:
    world.add_corpus(4)
    trained, other = world.train(1), world.train(1)
    world.work_off()
    ahead = world.classify(1, f"job:{trained}")
    world.classify(1, f"job:{other}", after_job_id=ahead)
    with world.session() as session:
        nightly = {"cron": "0 2 * * *", "timezone": "UTC", "corpus": "opinions", "bundle": f"job:{trained}"}
        add_schedule(session, name="nightly", now=world.now, **nightly)
    assert set(reasons(world)) == {trained, other}
    assert set(reasons(world).values()) == {"a schedule or a waiting job calls its bundle by it"}


def test_files_of_a_forgotten_job_are_cleared(world: World, tmp_path: Path) -> None:
    checkpoints, attempts = tmp_path / "checkpoints", tmp_path / "attempts"
    mine = [checkpoints / "job-7-0ddba11a" / "token-1", attempts / "shard-3-0ddba11a" / "token-2"]
    others = [
        *(checkpoints / name for name in ("job-8-0ddba11a", "job-7-5eaf00d5", "job-7")),
        *(attempts / name for name in ("shard-4-0ddba11a", "shard-3-5eaf00d5", "shard-3")),
    ]
    for folder in (*mine, *others):
        folder.mkdir(parents=True)
    clear_files(tmp_path, tag="0ddba11a", job_id=7, shards=[3])
    assert not any(folder.parent.exists() for folder in mine)
    assert all(folder.exists() for folder in others)


def test_corpora_and_bundles_go_when_no_job_stands_on_them(world: World) -> None:
    first, second = two_classifications(world)
    other = world.add_corpus(3, name="other")
    world.add_bundle("else", weights="w9")
    with world.session() as session, pytest.raises(Conflict, match=f"Job {second} and 1 other stand on"):
        remove_corpus(session, "opinions@1")
    with world.session() as session, pytest.raises(Conflict, match="on bundle"):
        remove_bundle(session, "postures")
    world.classify(other, "else")
    for job_id in (second, first):
        forget(world, job_id)
    with world.session() as session:
        assert remove_corpus(session, "opinions@1").documents == 10
        assert remove_bundle(session, "postures").name == "postures"
    with world.database.reading() as session, pytest.raises(NotFound):
        remove_corpus(session, "opinions")
    world.work_off()
    world.verify_all()


def test_what_an_alias_or_a_schedule_names_stays(world: World) -> None:
    from postq.registry.bundles import set_alias

    world.add_corpus(3)
    world.add_bundle()
    world.add_bundle("else", weights="w9")
    with world.session() as session:
        nightly = {"cron": "0 2 * * *", "timezone": "UTC", "corpus": "opinions", "bundle": "postures"}
        add_schedule(session, name="nightly", now=world.now, **nightly)
        set_alias(session, "best", "else", now=world.now)
    for remove, reference, told in (
        (remove_corpus, "opinions", "schedule nightly"),
        (remove_bundle, "postures", "schedule nightly"),
        (remove_bundle, "else", "@best points at"),
    ):
        with world.session() as session, pytest.raises(Conflict, match=told):
            remove(session, reference)


def test_the_number_of_what_was_removed_is_not_given_away_again(world: World) -> None:
    corpus, made = world.add_corpus(3), world.add_bundle()
    first = world.classify(corpus)
    world.work_off()
    shards = [one.id for one in world.shards(first)]
    forget(world, first)
    sweep(world)
    with world.session() as session:
        remove_bundle(session, "postures")
        remove_corpus(session, "opinions")
    assert world.add_corpus(3) > corpus
    assert world.add_bundle() > made
    second = world.classify(corpus + 1)
    assert second > first
    assert not {one.id for one in world.shards(second)} & set(shards)
