"""A removal beside a training, a submit, an alias or a schedule that names what is removed: one wins."""

import errno
import shutil
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.contracts.specs import ClassifySpec
from postq.errors import Conflict, NotFound, StorageUnavailable
from postq.jobs.prune import forget_job
from postq.jobs.schedules import add_schedule
from postq.jobs.submit import submit
from postq.models.bundle import BundleRow
from postq.models.job import JobState
from postq.models.tables import bundle
from postq.registry.bundle_place import take_away
from postq.registry.bundles import count_test_touch, set_alias
from postq.registry.removal import remove_bundle, remove_corpus
from tests.integration.engine.crossing import Crossed, Verb, alone, only_postgres
from tests.integration.engine.trainings import DIGEST, finish_training
from tests.integration.engine.world import World


@pytest.fixture
def home(world: World) -> Path:
    """The folder bundles lie under."""
    return world.settings.home


@pytest.fixture
def trained_once(world: World) -> World:
    """A bundle whose training was forgotten, and a second training that will end in the same bundle."""
    world.add_corpus(4)
    world.train(1)
    with world.session() as session:
        finish_training(world, world.must_claim())(session)
    world.train(1)
    with world.session() as session:
        forget_job(session, 1)
    return world


def removal(session: Session) -> BundleRow:
    return remove_bundle(session, "postures")


def row_of(world: World) -> BundleRow | None:
    with world.database.reading() as session:
        return session.scalars(sa.select(BundleRow).where(bundle.c.digest == DIGEST)).one_or_none()


def folder_stands(home: Path) -> bool:
    return len(list(home.glob(f"bundles/{DIGEST}-*/labels.json"))) == 1


def test_a_removed_bundle_goes_with_its_folder_and_leaves_nothing(trained_once: World, home: Path) -> None:
    with trained_once.session() as session:
        row = removal(session)
    take_away(trained_once.database, row, home=home)
    assert row_of(trained_once) is None
    assert list((home / "bundles").iterdir()) == []


def test_a_training_between_the_two_steps_of_a_removal_keeps_row_and_folder(
    trained_once: World, home: Path
) -> None:
    world = trained_once
    finish = finish_training(world, world.must_claim())
    with world.session() as session:
        row = removal(session)
    with world.session() as session:
        assert finish(session)
    take_away(world.database, row, home=home)
    found = row_of(world)
    assert found is not None
    assert found.id != row.id
    assert world.job(2).bundle_id == found.id
    assert folder_stands(home)


def test_a_training_after_a_removal_brings_its_own_folder(trained_once: World, home: Path) -> None:
    world = trained_once
    finish = finish_training(world, world.must_claim())
    with world.session() as session:
        row = removal(session)
    take_away(world.database, row, home=home)
    with world.session() as session:
        assert finish(session)
    assert row_of(world) is not None
    assert folder_stands(home)


def test_a_removal_that_died_before_the_folder_went_harms_no_later_training(
    trained_once: World, home: Path
) -> None:
    world = trained_once
    finish = finish_training(world, world.must_claim())
    with world.session() as session:
        removal(session)
    with world.session() as session:
        assert finish(session)
    assert folder_stands(home)
    assert world.state(2) is JobState.SUCCEEDED


def test_a_folder_that_is_gone_already_does_not_stop_a_removal(trained_once: World, home: Path) -> None:
    shutil.rmtree(home / "bundles")
    with trained_once.session() as session:
        row = removal(session)
    take_away(trained_once.database, row, home=home)
    assert row_of(trained_once) is None


def test_a_folder_that_may_not_go_is_told_once_the_bundle_is_none(
    trained_once: World, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with trained_once.session() as session:
        row = removal(session)
    monkeypatch.setattr(Path, "rename", deny)
    with pytest.raises(StorageUnavailable, match=rf"{DIGEST}-\w{{8}} stays: Permission denied"):
        take_away(trained_once.database, row, home=home)
    assert folder_stands(home)


@only_postgres
def test_a_removal_waits_for_a_training_about_to_end_in_the_bundle_and_is_refused(
    trained_once: World, home: Path, crossed: Crossed
) -> None:
    world = trained_once
    finish = finish_training(world, world.must_claim())
    refused = crossed.refused(finish, alone(world, removal))
    assert isinstance(refused, Conflict)
    assert "Job 2 stands on bundle" in refused.message
    assert world.job(2).bundle_id is not None
    assert folder_stands(home)


@only_postgres
def test_a_training_waits_for_a_removal_and_registers_the_bundle_anew(
    trained_once: World, home: Path, crossed: Crossed
) -> None:
    world = trained_once
    gone = row_of(world)
    assert gone is not None
    finish = finish_training(world, world.must_claim())
    assert crossed(removal, alone(world, finish))
    take_away(world.database, gone, home=home)
    made = row_of(world)
    assert made is not None
    assert world.job(2).bundle_id == made.id
    assert folder_stands(home)


@only_postgres
def test_a_folder_is_left_to_a_training_whose_commit_is_under_way(
    trained_once: World, home: Path, crossed: Crossed
) -> None:
    world = trained_once
    finish = finish_training(world, world.must_claim())
    with world.session() as session:
        row = removal(session)
    crossed(finish, lambda: take_away(world.database, row, home=home))
    assert row_of(world) is not None
    assert folder_stands(home)


def classification(world: World, **options: Any) -> Verb:
    spec = ClassifySpec(corpus_id=1, bundle="postures")
    return lambda session: submit(session, spec, now=world.now, settings=world.settings, **options)


def naming_verbs(world: World) -> dict[str, Verb]:
    nightly = {"cron": "0 2 * * *", "timezone": "UTC", "corpus": "opinions", "bundle": "postures"}
    return {
        "submit": classification(world),
        "blocked submit": classification(world, after_job_id=1),
        "alias": lambda session: set_alias(session, "best", "postures", now=world.now),
        "schedule": lambda session: add_schedule(session, name="nightly", now=world.now, **nightly),
    }


@pytest.fixture
def stocked(world: World) -> World:
    """A corpus and a bundle that nothing names yet, and job 1 on another corpus, to wait for."""
    world.add_corpus(4)
    world.add_bundle()
    world.train(world.add_corpus(4, name="others"), "other")
    return world


REMOVALS: dict[str, Verb] = {
    "corpus": lambda session: remove_corpus(session, "opinions"),
    "bundle": lambda session: remove_bundle(session, "postures"),
}
PAIRS = [
    ("submit", "corpus", "Job 2 stands"),
    ("submit", "bundle", "Job 2 stands"),
    ("blocked submit", "bundle", "Job 2 is blocked and will use bundle"),
    ("alias", "bundle", "@best points"),
    ("schedule", "corpus", "schedule nightly"),
    ("schedule", "bundle", "schedule nightly"),
]


@only_postgres
@pytest.mark.parametrize(("names", "removes", "told"), PAIRS)
def test_what_is_being_named_is_not_removed(
    stocked: World, crossed: Crossed, names: str, removes: str, told: str
) -> None:
    refused = crossed.refused(naming_verbs(stocked)[names], alone(stocked, REMOVALS[removes]))
    assert isinstance(refused, Conflict)
    assert told in refused.message


@only_postgres
@pytest.mark.parametrize(("names", "removes"), [pair[:2] for pair in PAIRS])
def test_what_is_being_removed_is_not_found_by_who_would_name_it(
    stocked: World, crossed: Crossed, names: str, removes: str
) -> None:
    refused = crossed.refused(REMOVALS[removes], alone(stocked, naming_verbs(stocked)[names]))
    assert isinstance(refused, NotFound)
    assert refused.hint


@only_postgres
@pytest.mark.parametrize("removes", REMOVALS)
def test_of_two_removals_the_second_is_told_that_nothing_is_left(
    stocked: World, crossed: Crossed, removes: str
) -> None:
    refused = crossed.refused(REMOVALS[removes], alone(stocked, REMOVALS[removes]))
    assert isinstance(refused, NotFound)


@only_postgres
def test_a_job_that_is_being_pruned_is_not_found_by_who_would_follow_it(
    stocked: World, crossed: Crossed
) -> None:
    before = stocked.classify(1)
    stocked.work_off()

    def follow() -> int:
        return stocked.classify(1, after_job_id=before)

    refused = crossed.refused(lambda session: forget_job(session, before), follow)
    assert isinstance(refused, NotFound)


def test_a_bundle_made_from_one_that_was_removed_meanwhile_is_refused(world: World) -> None:
    with world.session() as session, pytest.raises(NotFound, match="removed meanwhile"):
        count_test_touch(session, 99)


def test_a_bundle_that_a_blocked_job_will_use_stays_for_it(stocked: World) -> None:
    follower = stocked.classify(1, after_job_id=1)
    with stocked.session() as session, pytest.raises(Conflict, match=f"Job {follower} is blocked") as refused:
        remove_bundle(session, "postures")
    assert f"postq cancel {follower}" in refused.value.hint
    stocked.work_off()
    assert stocked.state(follower) is JobState.SUCCEEDED


def test_a_blocked_job_that_uses_another_bundle_is_in_nobodys_way(stocked: World) -> None:
    stocked.add_bundle("kept", weights="w2")
    stocked.classify(1, "kept", after_job_id=1)
    stocked.classify(1, "job:1", after_job_id=1)
    with stocked.session() as session:
        assert remove_bundle(session, "postures").name == "postures"
