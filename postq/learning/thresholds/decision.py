"""What turns a document's scores into labels: a threshold per label, then rules between labels, if any."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from postq.contracts.record import Record
from postq.contracts.rules import Rule, RuleKind
from postq.errors import IntegrityError

Pair = tuple[int, int]
"""Two columns of the scores."""


class Decision(Record):
    """Everything that decides which labels are predicted; small, and the same in every process.

    Rules look at labels and not at scores. First every label that reaches its threshold brings the labels it
    implies; these bring no further ones, so that the order of rules plays no part. Then a general label goes
    where a more specific one is there, judged by what was there before any went.
    """

    thresholds: tuple[float, ...]
    """(labels,) in the order of the scores' columns."""
    implies: tuple[Pair, ...] = ()
    """(first, second): where the first reaches its threshold, the second is predicted too."""
    outranks: tuple[Pair, ...] = ()
    """(specific, general): where both are predicted, the general one is not."""

    @classmethod
    def at(cls, thresholds: Sequence[float] | NDArray[np.floating]) -> "Decision":
        """(labels,) thresholds and no rules."""
        return cls(thresholds=tuple(np.asarray(thresholds, np.float64).tolist()))

    def with_rules(self, rules: Iterable[Rule], labels: tuple[str, ...]) -> "Decision":
        """The same thresholds with these rules, as columns of `labels`, sorted."""
        column = {name: at for at, name in enumerate(labels)}
        pairs: dict[RuleKind, list[Pair]] = {"implies": [], "outranks": []}
        for each in rules:
            pairs[each.kind].append((column[each.given], column[each.other]))
        return self.model_copy(update={kind: tuple(sorted(found)) for kind, found in pairs.items()})

    @property
    def values(self) -> NDArray[np.float64]:
        """(labels,) thresholds."""
        return np.array(self.thresholds, np.float64)

    def decide(self, scores: NDArray[np.floating]) -> NDArray[np.bool_]:
        """(docs, labels) predictions for (docs, labels) probabilities; IntegrityError on NaN."""
        return self.ruled(apply_thresholds(scores, self.values))

    def ruled(self, reached: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(docs, labels) predictions from the labels that reach their thresholds."""
        found = with_implied(reached, self.implies)
        return without_outranked(found, self.outranks)


def with_implied(reached: NDArray[np.bool_], pairs: Sequence[Pair]) -> NDArray[np.bool_]:
    """(docs, labels) `reached` and what it implies, in one round: an implied label implies nothing."""
    if not pairs:
        return reached
    found = reached.copy()
    for first, second in pairs:
        found[:, second] |= reached[:, first]
    return found


def without_outranked(predicted: NDArray[np.bool_], pairs: Sequence[Pair]) -> NDArray[np.bool_]:
    """(docs, labels) `predicted` without general labels that a specific one of `predicted` outranks."""
    if not pairs:
        return predicted
    kept = predicted.copy()
    for specific, general in pairs:
        kept[:, general] &= ~predicted[:, specific]
    return kept


def apply_thresholds(
    scores: NDArray[np.floating], thresholds: NDArray[np.floating] | float
) -> NDArray[np.bool_]:
    """(docs, labels) score >= threshold, compared in float64; raises IntegrityError on NaN scores."""
    require_finite(scores)
    return np.asarray(scores.astype(np.float64) >= np.asarray(thresholds, dtype=np.float64))


def require_finite(scores: NDArray[np.floating]) -> None:
    """Raise IntegrityError naming the first document and label whose score is NaN or infinite."""
    if np.isfinite(scores).all():
        return
    row, column = (int(index[0]) for index in np.nonzero(~np.isfinite(scores)))
    raise IntegrityError(
        f"The score of document {row} for label {column} is not a number.",
        hint="The model's weights or the document's features are broken; train again or quarantine it.",
    )
