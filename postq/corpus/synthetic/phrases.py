"""The phrases synthetic opinions are made of, read once from the data files."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from postq.corpus.synthetic.ontology import load_yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class PostureWords:
    """How opinions speak of one posture; motions have names and grounds, the others whole sentences."""

    names: tuple[str, ...]
    grounds: tuple[str, ...]
    says: tuple[str, ...]
    hints: tuple[str, ...]
    asides: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """What a case is about."""

    name: str
    groups: frozenset[str]
    facts: tuple[str, ...]
    """Clauses of fact, such as `the buyer kept the goods`."""
    issues: tuple[str, ...]
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrasebook:
    """All phrases; `words` are lists by name, as in vocabulary.yaml."""

    words: dict[str, tuple[str, ...]]
    headings: dict[str, tuple[str, ...]]
    postures: dict[str, PostureWords]
    topics: tuple[Topic, ...]


@cache
def load_phrases() -> Phrasebook:
    """Read vocabulary.yaml, postures.yaml and topics.yaml."""
    vocabulary: dict[str, Any] = load_yaml("vocabulary.yaml")
    headings = vocabulary.pop("headings")
    return Phrasebook(
        words=_tuples(vocabulary),
        headings=_tuples(headings),
        postures={name: _posture_words(fields) for name, fields in load_yaml("postures.yaml").items()},
        topics=tuple(_topic(name, fields) for name, fields in load_yaml("topics.yaml").items()),
    )


def _posture_words(fields: dict[str, Any]) -> PostureWords:
    parts = ("names", "grounds", "says", "hints", "asides")
    return PostureWords(**{part: tuple(fields.get(part, ())) for part in parts})


def _topic(name: str, fields: dict[str, Any]) -> Topic:
    facts = tuple(f"{who} {act}" for who, acts in fields["people"].items() for act in acts)
    lists = _tuples({part: fields[part] for part in ("issues", "rules")})
    return Topic(name=name, groups=frozenset(fields["groups"]), facts=facts, **lists)


def _tuples(lists: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    return {name: tuple(items) for name, items in lists.items()}
