"""Two databases with one home: neither touches what the other keeps there, nor takes it for its own."""

import os
import shutil
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
import sqlalchemy as sa

from postq.contracts.scoring import ScoreBatch
from postq.database_tag import database_tag
from postq.db import Database, database_now
from postq.jobs.commit import commit
from postq.jobs.leases import Lease, lease_of, register_checkpoint
from postq.migrations import upgrade
from postq.models.job import JobState
from postq.models.tables import bundle, job, prediction
from postq.registry.bundle_place import take_away, unnamed_folders
from postq.registry.removal import remove_bundle
from postq.registry.strangers import strange_folders
from postq.tasks import classify
from postq.tasks.results import ResultWriter
from postq.worker.folders import Folders
from postq.worker.maintenance import Maintenance
from postq.worker.requests import make_request
from tests import databases
from tests.integration.engine.conftest import small_settings
from tests.integration.engine.trainings import finish_training, place_of_bundle
from tests.integration.engine.world import AT_THRESHOLDS, CPU, LABELS, World

pytestmark = pytest.mark.postgres
Pair = tuple[World, World]


@pytest.fixture
def worlds(sqlite_database: Database, postgres_database: Database, isolated_settings: Path) -> Pair:
    """A user's SQLite file, and the server that came after it, with one home and a corpus in each."""
    first, second = (
        World(database, small_settings(database, isolated_settings))
        for database in (sqlite_database, postgres_database)
    )
    for world in (first, second):
        with world.session() as session:
            world.now = database_now(session)
        world.add_corpus(4)
    return first, second


def tag_of(world: World) -> str:
    with world.database.reading() as session:
        return database_tag(session, home=world.settings.home)


def folders_of(world: World) -> Folders:
    return Folders(world.settings.home, tag=tag_of(world))


def maintain(world: World) -> None:
    Maintenance(database=world.database, settings=world.settings, on_change=lambda: None).run_once()


def end_in_bundle(world: World) -> Path:
    """Train to the one bundle that both trainings end in; returns its folder."""
    world.train(1)
    with world.session() as session:
        finish_training(world, world.must_claim())(session)
    return place_of_bundle(world)


def score(folder: Path, value: float) -> None:
    """What a runner leaves that gave every document this score."""
    tokens = np.full(4, 9, dtype=np.int32)
    scores = np.full((4, len(LABELS)), value, dtype=np.float32)
    with ResultWriter(folder, labels=LABELS) as writer:
        writer.add(ScoreBatch(rows=np.arange(4), scores=scores, tokens_total=tokens, tokens_seen=tokens))


def stored_scores(world: World, lease: Lease) -> set[float]:
    """Commit the attempt as a supervisor does; the scores that are in the database then."""
    output, result = folders_of(world).output(lease), {"decision": AT_THRESHOLDS.model_dump(mode="json")}
    with world.session() as session:
        assert commit(
            session,
            lease,
            now=world.now,
            settings=world.settings,
            store=lambda session, lease: classify.store(session, lease, result, folder=output),
        )
        stored = session.scalars(sa.select(prediction.c.scores)).all()
    return {float(value) for row in stored for value in np.frombuffer(row, dtype=np.float32)}


def test_scores_of_another_database_are_never_stored(worlds: Pair) -> None:
    # Given a classification in each, under the same numbers, both at work
    leases = []
    for world, value in zip(worlds, (0.25, 0.75), strict=True):
        world.add_bundle(weights=f"w{value}")
        world.classify(1)
        lease = world.must_claim()
        folders_of(world).prepare(lease)
        score(folders_of(world).output(lease), value)
        leases.append(lease)
    assert {(lease.shard_id, lease.token) for lease in leases} == {(1, 1)}
    # When both are committed, then each has its own scores
    stored = [stored_scores(world, lease) for world, lease in zip(worlds, leases, strict=True)]
    assert stored == [{0.25}, {0.75}]


def checkpointed(world: World, *, said: str) -> Lease:
    """A training at work with a registered checkpoint that says this."""
    world.train(1)
    lease = world.must_claim()
    folders_of(world).prepare(lease)
    checkpoint = folders_of(world).checkpoints(lease) / "checkpoint-000001"
    checkpoint.mkdir()
    (checkpoint / "state.json").write_text(said)
    with world.session() as session:
        path = folders_of(world).relative(checkpoint)
        assert register_checkpoint(session, lease, path, 5, world.now)
        return lease_of(session, lease.shard_id)


def resumed_from(world: World, lease: Lease) -> Path | None:
    with world.database.reading() as session:
        return make_request(session, lease, device=CPU, folders=folders_of(world)).checkpoint


def test_a_training_resumes_from_its_own_checkpoint_only(worlds: Pair) -> None:
    leases = [checkpointed(world, said=name) for world, name in zip(worlds, "ab", strict=True)]
    found = [resumed_from(world, lease) for world, lease in zip(worlds, leases, strict=True)]
    assert [path and (path / "state.json").read_text() for path in found] == ["a", "b"]


def test_what_one_database_clears_up_is_not_the_others(worlds: Pair) -> None:
    # Given a training in each, under the same numbers; the first one has succeeded
    first, second = worlds
    ended, going = (checkpointed(world, said="mine") for world in worlds)
    with first.session() as session:
        session.execute(sa.update(job).values(state=JobState.SUCCEEDED))
    # When every hand of the first has cleared up
    folders_of(first).drop_superseded_checkpoints(ended)
    folders_of(first).drop_output(ended)
    maintain(first)
    folders_of(first).drop_checkpoints(ended)
    # Then its own are gone, and all of the other's are there
    assert not folders_of(first).checkpoints(ended).exists()
    assert folders_of(second).output(going).is_dir()
    assert resumed_from(second, going) is not None
    maintain(second)
    assert folders_of(second).output(going).is_dir()


def test_a_bundle_that_both_have_is_two_folders_and_one_is_removed_with_its_row(worlds: Pair) -> None:
    first, second = worlds
    places = [end_in_bundle(world) for world in worlds]
    with first.session() as session:
        session.execute(sa.update(job).values(bundle_id=None))
        row = remove_bundle(session, "postures")
    take_away(first.database, row, home=first.settings.home)
    assert [place.exists() for place in places] == [False, True]
    with second.database.reading() as session:
        (path,) = session.scalars(sa.select(bundle.c.path))
    assert second.settings.home / path == places[1]


def test_prune_lists_no_bundle_of_the_other_however_young(worlds: Pair) -> None:
    """Each side is the younger one once: both folders were written after the first corpus of either."""
    places = [end_in_bundle(world) for world in worlds]
    for world in worlds:
        with world.session() as session:
            session.execute(sa.update(job).values(bundle_id=None))
            session.execute(sa.delete(bundle))
    for place in places:
        for path in (place, *place.iterdir()):
            os.utime(path, times=(worlds[0].now.timestamp(),) * 2)
    later = worlds[0].now + timedelta(days=9)
    for world, own in zip(worlds, places, strict=True):
        with world.database.reading() as session:
            assert unnamed_folders(session, home=world.settings.home, before=later, now=later) == [own]


def untag(world: World) -> Path:
    """Let the bundle lie where older versions put it; returns its folder."""
    place = place_of_bundle(world)
    older = place.with_name(place.name.partition("-")[0])
    place.rename(older)
    with world.session() as session:
        session.execute(sa.update(bundle).values(path=f"bundles/{older.name}"))
    return older


def test_a_bundle_from_before_names_bore_tags_is_found_again_and_never_removed(worlds: Pair) -> None:
    first, home = worlds[0], worlds[0].settings.home
    end_in_bundle(first)
    older = untag(first)
    # A training that ends in it finds it where it lies
    end_in_bundle(first)
    with first.session() as session:
        assert list(session.scalars(sa.select(bundle.c.path))) == [f"bundles/{older.name}"]
        session.execute(sa.update(job).values(bundle_id=None))
        row = remove_bundle(session, "postures")
    assert not place_of_bundle(first).exists()
    # Its removal leaves the folder, which may be another database's too
    take_away(first.database, row, home=home)
    later = first.now + timedelta(days=9)
    with first.database.reading() as session:
        assert unnamed_folders(session, home=home, before=later, now=later) == []
    assert (older / "labels.json").is_file()


def test_a_checkpoint_from_before_names_bore_tags_is_resumed_from(worlds: Pair) -> None:
    first = worlds[0]
    lease = checkpointed(first, said="older")
    older = first.settings.home / "checkpoints" / f"job-{lease.job_id}"
    folders_of(first).checkpoints(lease).parent.rename(older)
    with first.session() as session:
        path = folders_of(first).relative(older / "token-1" / "checkpoint-000001")
        assert register_checkpoint(session, lease, path, 6, first.now)
        lease = lease_of(session, lease.shard_id)
    found = resumed_from(first, lease)
    assert found is not None
    assert (found / "state.json").read_text() == "older"


def test_folders_of_the_other_are_told_by_its_tag_and_those_without_one_apart(worlds: Pair) -> None:
    first, second = worlds
    home = first.settings.home
    end_in_bundle(first)
    end_in_bundle(second)
    checkpointed(second, said="theirs")
    resumable = checkpointed(first, said="mine")
    for name in ("corpora/opinions-0123456789ab", "checkpoints/job-9", "attempts/shard-9/token-1"):
        (home / name).mkdir(parents=True)
    untag(first)
    with first.database.reading() as session:
        found = strange_folders(session, home=home)
    told = {tag: [path.relative_to(home).as_posix() for path in paths] for tag, paths in found.items()}
    theirs = tag_of(second)
    assert told == {
        theirs: [
            f"bundles/{place_of_bundle(second).name}",
            f"checkpoints/job-{resumable.job_id}-{theirs}",
            f"attempts/shard-{resumable.shard_id}-{theirs}",
        ],
        None: ["corpora/opinions-0123456789ab", "checkpoints/job-9", "attempts/shard-9"],
    }


def test_folders_with_a_tag_that_rows_name_too_are_not_called_anothers(worlds: Pair) -> None:
    """A database that was moved has another tag than the folders it names, and must not have them removed."""
    first, home = worlds[0], worlds[0].settings.home
    place, left = end_in_bundle(first), home / "checkpoints" / "job-9-0ddba11a"
    moved = place.rename(place.with_name(f"{place.name.partition('-')[0]}-0ddba11a"))
    left.mkdir(parents=True)
    with first.session() as session:
        session.execute(sa.update(bundle).values(path=f"bundles/{moved.name}"))
        assert strange_folders(session, home=home) == {None: [left]}


def test_a_server_has_one_tag_by_whatever_name_it_is_reached_and_another_for_each_database(
    postgres_database: Database, migrated_postgres: str, isolated_settings: Path
) -> None:
    def tag_at(url: str) -> str:
        database = databases.opened(url, home=isolated_settings)
        try:
            with database.reading() as session:
                return database_tag(session, home=isolated_settings)
        finally:
            database.dispose()

    url = postgres_database.engine.url
    names = [url.set(host=host).render_as_string(hide_password=False) for host in ("127.0.0.1", "localhost")]
    assert tag_at(names[0]) == tag_at(names[1])
    with databases.copied_postgres(migrated_postgres, home=isolated_settings) as other:
        assert tag_at(other.engine.url.render_as_string(hide_password=False)) != tag_at(names[0])


def test_a_server_that_does_not_tell_what_it_is_has_a_tag_all_the_same(
    postgres_database: Database, isolated_settings: Path
) -> None:
    with postgres_database.transaction() as session:
        name = f"reader_{uuid4().hex}"
        session.execute(sa.text("REVOKE EXECUTE ON FUNCTION pg_control_system FROM PUBLIC"))
        session.execute(sa.text(f"CREATE ROLE {name}"))
        session.execute(sa.text(f"SET LOCAL ROLE {name}"))
        hidden = database_tag(session, home=isolated_settings)
        session.execute(sa.text("RESET ROLE"))
        assert database_tag(session, home=isolated_settings) != hidden
        assert len(hidden) == 8
        session.execute(sa.text(f"DROP ROLE {name}"))


def tag_of_file(file: Path, *, home: Path) -> str:
    database = databases.opened(f"sqlite:///{file}", home=home)
    try:
        upgrade(database)
        with database.reading() as session:
            return database_tag(session, home=home)
    finally:
        database.dispose()


def test_a_file_has_a_tag_that_neither_its_copy_nor_a_new_one_in_its_place_has(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    file = home / "postq.db"
    before = tag_of_file(file, home=home)
    assert tag_of_file(file, home=home) == before
    shutil.copyfile(file, home / "copy.db")
    assert tag_of_file(home / "copy.db", home=home) != before
    file.rename(home / "old.db")
    assert tag_of_file(file, home=home) != before


def test_a_file_keeps_its_tag_when_its_home_moves_as_a_whole(tmp_path: Path) -> None:
    home, moved = tmp_path / "home", tmp_path / "moved"
    home.mkdir()
    before = tag_of_file(home / "postq.db", home=home)
    home.rename(moved)
    assert tag_of_file(moved / "postq.db", home=moved) == before
