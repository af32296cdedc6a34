"""Text on its way into the database: what no database keeps is made visible, and nothing is endless."""

from hypothesis import given
from hypothesis import strategies as st

from postq.db import LONGEST_MESSAGE, storable


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
