"""What a user knows of labels besides documents: facets such as stage or motion, groups, broader labels."""

from collections.abc import Iterator

from pydantic import Field, model_validator

from postq.contracts.record import Record
from postq.counted import counted

MOST_LABELS = 5_000
MOST_OF_ONE = 20
"""Facets, or parents, of one label."""
LONGEST_NAME = 500
"""Characters of a label's, facet's or group's name."""


class LabelFacets(Record):
    """One label's place among the others."""

    label: str = Field(min_length=1, max_length=LONGEST_NAME)
    facets: tuple[str, ...] = Field((), max_length=MOST_OF_ONE)
    """Kinds of label it is of, such as `stage` or `motion`; a label may be of several."""
    group: str | None = Field(None, max_length=LONGEST_NAME)
    """A finer kind, such as `dismissal`."""
    parents: tuple[str, ...] = Field((), max_length=MOST_OF_ONE)
    """Broader labels. Whether these are put on the same documents is another question."""


class Facets(Record):
    """Facets of labels, as a user gave them; each label once, and no label broader than itself."""

    labels: tuple[LabelFacets, ...] = Field(min_length=1, max_length=MOST_LABELS)

    @model_validator(mode="after")
    def _fits_together(self) -> "Facets":
        names = [each.label for each in self.labels]
        if len(set(names)) < len(names):
            twice = next(name for at, name in enumerate(names) if name in names[:at])
            raise ValueError(f"'{twice}' is there twice")
        for each in self.labels:
            strange = set(each.parents) - set(names)
            if strange:
                raise ValueError(
                    f"'{min(strange)}', the parent of '{each.label}', is itself no label of the file"
                )
        circle = self._circle()
        if circle:
            raise ValueError(f"the parents run in a circle: {' → '.join(circle)}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """All labels, in the order of the file."""
        return tuple(each.label for each in self.labels)

    @property
    def facet_names(self) -> tuple[str, ...]:
        """All facets, sorted."""
        return tuple(sorted({facet for each in self.labels for facet in each.facets}))

    def ancestors(self) -> dict[str, frozenset[str]]:
        """Every label → all broader ones, however far up."""
        parents = {each.label: each.parents for each in self.labels}
        found: dict[str, frozenset[str]] = {}
        for label in _parents_first(parents):
            above = [found[parent] | {parent} for parent in parents[label]]
            found[label] = frozenset[str]().union(*above)
        return found

    def sentence(self) -> str:
        """How much is told of how many labels."""
        with_parent = sum(bool(each.parents) for each in self.labels)
        groups = len({each.group for each in self.labels if each.group})
        told = (
            counted(len(self.labels), "label"),
            counted(len(self.facet_names), "facet"),
            counted(groups, "group"),
            counted(with_parent, "label with a parent", "labels with a parent"),
        )
        return ", ".join(told)

    def _circle(self) -> list[str]:
        """Labels that are broader than themselves, in order and closed; empty when there are none."""
        parents = {each.label: each.parents for each in self.labels}
        settled = set(_parents_first(parents))
        left = [label for label in parents if label not in settled]
        if not left:
            return []
        walked = [left[0]]
        while True:
            walked.append(next(parent for parent in parents[walked[-1]] if parent not in settled))
            if walked[-1] in walked[:-1]:
                return walked[walked.index(walked[-1]) :]


def _parents_first(parents: dict[str, tuple[str, ...]]) -> Iterator[str]:
    """Labels whose parents all come before them; those on or under a circle never come."""
    waiting = {label: set(above) for label, above in parents.items()}
    children: dict[str, list[str]] = {}
    for label, above in parents.items():
        for parent in set(above):
            children.setdefault(parent, []).append(label)
    ready = [label for label, above in waiting.items() if not above]
    while ready:
        label = ready.pop()
        yield label
        for child in children.get(label, ()):
            waiting[child].discard(label)
            if not waiting[child]:
                ready.append(child)
