"""A training that dies between the move of its bundle and its commit leaves a folder: who takes it away."""

import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from postq.registry.bundle_place import sweep_unnamed, unnamed_folders
from tests.integration.engine.crossing import Crossed, alone, only_postgres
from tests.integration.engine.trainings import DIGEST, finish_training, place_of_bundle
from tests.integration.engine.world import World

DAY = timedelta(days=1)


class Died(Exception):
    """The supervisor, at its worst moment."""


@pytest.fixture
def place(world: World) -> Path:
    """The folder of a training that died before its commit, on the third day of this database."""
    world.add_corpus(4)
    world.train(1)
    world.later(3 * 86_400)
    finish = finish_training(world, world.must_claim())

    def die(session: Session) -> None:
        finish(session)
        raise Died

    with pytest.raises(Died):
        alone(world, die)()
    place = place_of_bundle(world)
    write_at(place, world.now)
    return place


def write_at(place: Path, moment: datetime) -> None:
    """Let the folder and all in it be last written at `moment`."""
    for path in (*place.rglob("*"), place):
        os.utime(path, (moment.timestamp(), moment.timestamp()))


def found(world: World, *, before: datetime | None = None) -> list[Path]:
    with world.database.reading() as session:
        home = world.settings.home
        return unnamed_folders(session, home=home, before=before or world.now, now=world.now)


def sweep(world: World, places: list[Path]) -> int:
    return sweep_unnamed(world.database, places, home=world.settings.home)


def test_it_is_found_and_swept_once_nobody_has_written_to_it_for_a_day(world: World, place: Path) -> None:
    world.later(86_000)
    assert found(world) == []
    world.later(1_000)
    assert found(world) == [place]
    assert sweep(world, [place]) == 1
    assert list(place.parent.iterdir()) == []


def test_it_is_found_only_when_it_is_as_old_as_asked(world: World, place: Path) -> None:
    written = world.now
    world.later(3 * 86_400)
    assert found(world, before=written - DAY) == []
    assert found(world, before=written + DAY) == [place]


@pytest.mark.parametrize("name", [DIGEST, f"{DIGEST}-0ddba11a"])
def test_a_folder_whose_name_does_not_say_that_it_is_this_databases_is_neither_found_nor_swept(
    name: str, world: World, place: Path
) -> None:
    others = place.with_name(name)
    place.rename(others)
    world.later(2 * 86_400)
    assert found(world) == []
    assert sweep(world, [others]) == 0
    assert (others / "labels.json").is_file()


def test_what_is_no_folder_of_a_bundle_is_left_alone(world: World, place: Path) -> None:
    mine = place.with_name("mine")
    place.rename(mine)
    world.later(2 * 86_400)
    assert found(world) == []


def test_the_folder_of_a_bundle_is_never_found(world: World, place: Path) -> None:
    world.train(1)
    with world.session() as session:
        finish_training(world, world.must_claim())(session)
    world.later(2 * 86_400)
    assert found(world) == []


def test_a_bundle_made_between_the_look_and_the_sweep_keeps_its_folder(world: World, place: Path) -> None:
    world.later(2 * 86_400)
    listed = found(world)
    world.train(1)
    with world.session() as session:
        finish_training(world, world.must_claim())(session)
    assert listed == [place]
    assert sweep(world, listed) == 0
    assert (place / "labels.json").is_file()


@only_postgres
def test_a_sweep_waits_for_a_training_about_to_name_the_folder(
    world: World, place: Path, crossed: Crossed
) -> None:
    world.later(2 * 86_400)
    world.train(1)
    finish = finish_training(world, world.must_claim())
    assert crossed(finish, lambda: sweep(world, [place])) == 0
    assert (place / "labels.json").is_file()


def test_a_training_after_a_sweep_brings_its_own_folder(world: World, place: Path) -> None:
    world.later(2 * 86_400)
    world.train(1)
    finish = finish_training(world, world.must_claim())
    assert sweep(world, [place]) == 1
    assert alone(world, finish)()
    assert (place / "labels.json").is_file()
