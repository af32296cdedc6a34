"""The embedded database opened by many at once, and text on its way in: storable, and not endless."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from postq.db import LONGEST_MESSAGE, storable
from tests.databases import opened

FIRST_COMERS = 4
ROUNDS = 40
"""Without waiting, one first comer in ten is told "database is locked": forty rounds cannot all go well."""


def test_many_may_be_the_first_to_open_the_embedded_database(tmp_path: Path) -> None:
    for number in range(ROUNDS):
        assert journals_of_first_comers(tmp_path / f"home-{number}") == ["wal"] * FIRST_COMERS


def journals_of_first_comers(home: Path) -> list[str]:
    """The journal each of some simultaneous connections to a database that is not there yet ends up with."""
    home.mkdir()
    together = threading.Barrier(FIRST_COMERS)

    def open_it(_: int) -> str:
        database = opened(f"sqlite:///{home / 'postq.db'}", home=home)
        together.wait(timeout=30)
        with database.reading() as session:
            mode = session.execute(sa.text("PRAGMA journal_mode")).scalar_one()
        database.dispose()
        return str(mode)

    with ThreadPoolExecutor(FIRST_COMERS) as pool:
        return list(pool.map(open_it, range(FIRST_COMERS)))


@given(st.text(alphabet=st.characters(codec=None)))
def test_any_text_becomes_one_that_every_database_keeps(text: str) -> None:
    kept = storable(text)
    assert "\x00" not in kept
    kept.encode("utf-8")


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x00"), max_size=LONGEST_MESSAGE))
def test_ordinary_text_is_kept_as_it_is(text: str) -> None:
    assert storable(text) == text


def test_an_endless_message_is_cut() -> None:
    assert len(storable("x" * 10 * LONGEST_MESSAGE)) == LONGEST_MESSAGE
