"""Sentences agree with the numbers in them, wherever they are written."""

import re
from pathlib import Path

from postq.counted import counted

ROOT = Path(__file__).resolve().parents[2]
BARE = re.compile(
    r"\{[^{}\"]*(?:len\([^{}]*\)|count|number|total)[^{}\"]*\} (?:\w+ )?\w+s (?:are|were|have|hold) "
)
"""A number in braces with a plural and its verb right behind: wrong whenever the number is 1."""


def test_a_noun_agrees_with_its_number() -> None:
    assert counted(1, "document") == "1 document"
    assert counted(0, "document") == "0 documents"
    assert counted(1204, "document") == "1,204 documents"
    assert counted(2, "corpus", "corpora") == "2 corpora"


def test_a_verb_agrees_with_its_number() -> None:
    assert [counted(number, "label is", "labels are") for number in (1, 2)] == ["1 label is", "2 labels are"]


def test_no_sentence_has_a_plural_whatever_its_number() -> None:
    bare = {
        f"{file.relative_to(ROOT)}: {line.strip()}"
        for file in (ROOT / "postq").rglob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        if BARE.search(line)
    }
    assert bare == set()
