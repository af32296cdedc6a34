"""Cascades: a cheap member scores every document, a dear one those on which the cheap one is likely to err.

How likely is the expected number of its wrong decisions: over all labels, the calibrated probability that
the document is the other way than decided. Each document is judged alone, against a cutoff that defers the
wanted share of documents with honest scores; so what shares a batch with it plays no part.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat

from postq.contracts.record import Record
from postq.learning.calibration import fit_calibration
from postq.learning.logits import logit, sigmoid
from postq.learning.thresholds.threshold_set import TunedOn

Scores = NDArray[np.float32]
Cuts = NDArray[np.float64]


class Cascade(Record):
    """Which documents go to the dear member; stored as JSON."""

    share: float
    """Share of documents that were to be deferred."""
    cutoff: FiniteFloat
    """Expected wrong decisions of the cheap member from which on a document is deferred."""
    slopes: tuple[FiniteFloat, ...]
    """(labels,) Platt's, on the cheap member's logits."""
    offsets: tuple[FiniteFloat, ...]
    """(labels,)"""

    def deferred(self, cheap: Scores, thresholds: Cuts) -> NDArray[np.bool_]:
        """(docs,) True where the cheap member's (docs, labels) scores leave too much in doubt."""
        return np.asarray(self.expected_errors(cheap, thresholds) >= self.cutoff)

    def expected_errors(self, cheap: Scores, thresholds: Cuts) -> NDArray[np.float64]:
        """(docs,) expected number of labels the cheap member decides wrongly at its (labels,) thresholds."""
        probable = sigmoid(np.array(self.slopes) * logit(cheap) + np.array(self.offsets))
        decided = cheap.astype(np.float64) >= thresholds
        return np.asarray(np.where(decided, 1 - probable, probable).sum(axis=1))

    def fits(self, *, labels: int) -> bool:
        """Whether there are a slope and an offset for every label."""
        return len(self.slopes) == len(self.offsets) == labels


def fit_cascade(
    truth: NDArray[np.bool_],
    cheap: Scores,
    thresholds: Cuts,
    *,
    labels: tuple[str, ...],
    share: float,
    fitted_on: TunedOn,
) -> Cascade:
    """Calibrate the cheap member's honest (docs, labels) scores, and find the cutoff that defers `share`.

    Raises NotTrainable when no document carries a label.
    """
    found = fit_calibration(
        truth, cheap, labels=labels, method="platt", score_space="cheap", fitted_on=fitted_on
    )
    draft = Cascade(share=share, cutoff=0.0, slopes=found.slopes, offsets=found.offsets)
    errors = draft.expected_errors(cheap, thresholds)
    return draft.model_copy(update={"cutoff": float(np.quantile(errors, 1 - share))})
