"""One spelling for every text, and the paragraphs-only view cut out of it."""

import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postq.corpus.normalise import clean_line, content_hash, normalise, without_headings
from postq.corpus.records import RawRecord, Section, SetAsideReason, UnfitRecord

TEN = "one two three four five six seven eight nine ten"


def record(*sections: tuple[str | None, list[str]], **fields: Any) -> RawRecord:
    made = tuple(Section(heading=heading, paragraphs=tuple(texts)) for heading, texts in sections)
    return RawRecord(**{"source": "s", "number": 1, "document_id": "d", "sections": made} | fields)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("  two\t words \r\n", "two words"),
        ("nu\x00ll, bell\x07, escape\x1b, delete\x7f, next\x84", "null, bell, escape, delete, next"),
        ("line\u2028separator\u00a0and\u3000wide", "line separator and wide"),
        ("cafe\u0301", "café"),
        ("half a pair \ud83d", "half a pair"),
        ("\ufeffmark", "mark"),
        ("e\x00\u0301", "é"),
    ],
)
def test_controls_go_white_space_collapses_and_letters_are_composed(raw: str, clean: str) -> None:
    assert clean_line(raw) == clean


@given(text=st.text(st.characters()))
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    once = clean_line(text)
    assert clean_line(once) == once
    assert unicodedata.is_normalized("NFC", once)
    once.encode("utf-8")


def test_headings_and_paragraphs_are_blocks_two_newlines_apart() -> None:
    made = normalise(record(("FACTS ", ["a  b", " \t"]), (None, [TEN])))
    assert made.text == f"FACTS\n\na b\n\n{TEN}"
    assert [made.text[start:end] for start, end in [made.heading_spans]] == ["FACTS"]
    assert made.word_count == len(made.text.split()) == 13


def test_labels_are_stripped_told_once_and_sorted() -> None:
    assert normalise(record((None, [TEN]), labels=(" b", "a", "b ", "", "a"))).labels == ("a", "b")


def test_equal_texts_have_equal_hashes_whatever_their_spelling() -> None:
    composed = normalise(record(("H", [f"café  {TEN}"])))
    decomposed = normalise(record(("H ", [f"cafe\u0301 {TEN}\x00"])))
    assert composed.content_hash == decomposed.content_hash == content_hash(composed.text)
    assert len(composed.content_hash) == 16
    assert normalise(record((None, [f"café {TEN}"]))).content_hash != composed.content_hash


@pytest.mark.parametrize(
    ("text", "reason"), [("", "missing_text"), ("\x07 \n", "missing_text"), (TEN[:-4], "too_short")]
)
def test_documents_under_ten_words_are_unfit(text: str, reason: str) -> None:
    with pytest.raises(UnfitRecord) as caught:
        normalise(record((None, [text])))
    assert caught.value.reason is SetAsideReason(reason)
    assert caught.value.document_id == "d"


blocks = st.lists(st.text(st.sampled_from("ab \n"), max_size=6), max_size=3)


@given(
    sections=st.lists(st.tuples(st.none() | st.text(st.sampled_from("XY "), max_size=4), blocks), max_size=5)
)
def test_the_paragraph_view_is_what_remains_without_headings(
    sections: list[tuple[str | None, list[str]]],
) -> None:
    made = normalise(record(("HEAD", [TEN]), *sections))
    wanted = [" ".join(text.split()) for _, texts in (("HEAD", [TEN]), *sections) for text in texts]
    assert without_headings(made.text, list(made.heading_spans)) == "\n\n".join(
        text for text in wanted if text
    )


def test_a_document_of_headings_only_keeps_them_in_both_views() -> None:
    made = normalise(record((TEN, [])))
    assert without_headings(made.text, list(made.heading_spans)) == TEN
