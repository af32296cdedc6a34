"""Iterative stratification of multi-label documents, whole near-duplicate clusters at a time."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HOME_WISH = 0.5
"""A unit goes to the split its own draw points at while that split wants half a document of the label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitUnit:
    """Documents that must stay together, seen as one."""

    cluster: int
    draw: float
    """The unit's own random number in [0, 1)."""
    size: int
    """Documents."""
    labels: dict[str, int]
    """Documents per label."""

    @classmethod
    def of(cls, cluster: int, *, draw: float, labels: Iterable[Sequence[str]]) -> "SplitUnit":
        """Sum up the label lists of the unit's documents."""
        listed = list(labels)
        counts = Counter(label for carried in listed for label in carried)
        return cls(cluster=cluster, draw=draw, size=len(listed), labels=dict(counts))


def stratify(units: Sequence[SplitUnit], *, shares: Sequence[float]) -> list[int]:
    """The split (an index into `shares`) of each unit, so that each label's documents follow the shares.

    Iterative stratification (Sechidis, Tsoumakas, Vlahavas: "On the stratification of multi-label data",
    ECML PKDD 2011, algorithm 1) with clusters in the place of examples: the label with the fewest documents
    left is dealt out first, larger units before smaller ones while there is room to make up for them.

    One thing differs. The paper gives each example to the split that wants the label most; which one that
    is depends on all examples before it, so that dropping 3 of 10,774 Reuters documents moved 19 % of the
    rest. Here a unit first goes to the split its own draw points at, and only when that split has its fill
    of the label to the one that wants most. Labels come out as even (0.29 documents off on average, against
    0.28), and the same three documents move none of the rest; on invented corpora with far more labels per
    document 2 % on average, against 19 %.
    """
    return _Dealer(units, shares).deal()


class _Dealer:
    """The state of one stratification: what each split still wants, and who is not yet placed."""

    def __init__(self, units: Sequence[SplitUnit], shares: Sequence[float]) -> None:
        names = sorted({label for unit in units for label in unit.labels})
        index = {name: column for column, name in enumerate(names)}
        self._units = units
        self._order = sorted(range(len(units)), key=lambda i: (-units[i].size, units[i].draw))
        self._columns = [_integers(index[label] for label in unit.labels) for unit in units]
        self._counts = [_integers(unit.labels.values()) for unit in units]
        self._holders: list[list[int]] = [[] for _ in names]
        for place in self._order:
            for column in self._columns[place].tolist():
                self._holders[column].append(place)
        self._left = np.zeros(len(names), dtype=np.int64)
        for columns, counts in zip(self._columns, self._counts, strict=True):
            self._left[columns] += counts
        proportions = np.array(shares, dtype=np.float64)
        self._closed = proportions <= 0
        draws = [unit.draw for unit in units]
        self._homes: list[int] = np.searchsorted(np.cumsum(proportions)[:-1], draws, side="right").tolist()
        self._wanted = proportions * sum(unit.size for unit in units)
        self._wanted_of_label = proportions[:, None] * self._left
        self._placed = [-1] * len(units)

    def deal(self) -> list[int]:
        while (column := self._rarest()) is not None:
            for place in self._holders[column]:
                if self._placed[place] < 0:
                    self._put(place, self._neediest(self._wanted_of_label[:, column], place))
        for place in self._order:
            if self._placed[place] < 0:
                self._put(place, self._neediest(self._wanted, place))
        return self._placed

    def _rarest(self) -> int | None:
        remaining = np.flatnonzero(self._left)
        return int(remaining[self._left[remaining].argmin()]) if len(remaining) else None

    def _neediest(self, wishes: NDArray[np.float64], place: int) -> int:
        """The unit's home while it has a wish left, else the split with the largest wish, then size."""
        home = self._homes[place]
        if wishes[home] >= HOME_WISH:
            return home
        splits = np.flatnonzero(~self._closed)
        for criterion in (wishes, self._wanted):
            values = criterion[splits]
            splits = splits[values >= values.max() - 1e-9]
        return int(splits[int(self._units[place].draw * len(splits))])

    def _put(self, place: int, split: int) -> None:
        self._placed[place] = split
        columns, counts = self._columns[place], self._counts[place]
        self._left[columns] -= counts
        self._wanted_of_label[split, columns] -= counts
        self._wanted[split] -= self._units[place].size


def _integers(values: Iterable[int]) -> NDArray[np.int64]:
    return np.array(list(values), dtype=np.int64)  # typed, since an empty list would become floats
