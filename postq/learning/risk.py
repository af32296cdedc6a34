"""Conformal risk control: how much a person must look at, so that few wrong documents pass unseen.

Angelopoulos, Bates, Fisch, Lei and Schuster 2022, "Conformal risk control". A document passes unseen when
every label lies further from its threshold than a cut. The loss of a document is 1 when it passes with a
label decided wrongly, else 0. It can only fall as the cut rises, so the smallest cut with
(losses + 1) / (documents + 1) <= risk keeps the expected loss of a further document of the same kind at or
under the risk, whatever the model and however its scores are spread.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from postq.counted import counted
from postq.errors import BadInput
from postq.learning.logits import logit
from postq.learning.thresholds.decision import Decision

ROUNDING = 1 + 1e-12
"""So that a risk of exactly 1 / (documents + 1) can be kept, by looking at everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """Which documents may pass unseen, and what that was found on."""

    risk: float
    """Most documents, as a share of all, that pass with a wrong label, in expectation."""
    cut: float
    """Logits; a document whose nearest label lies this close to its threshold, or closer, is looked at."""
    documents: int
    """Documents the cut was found on."""
    review_share: float
    """Share of these that are looked at."""
    wrong_share: float
    """Share of these with a label decided wrongly, whether looked at or not."""


def control_risk(
    truth: NDArray[np.bool_], scores: NDArray[np.floating], decision: Decision, *, risk: float
) -> Gate:
    """The gate from (docs, labels) truth and scores of documents that taught and tuned nothing.

    Raises BadInput for a risk that is no share, or smaller than so few documents can vouch for.
    """
    documents = len(truth)
    least = 1 / (documents + 1)
    if not least <= risk < 1:
        raise BadInput(
            f"A risk of {risk:g} cannot be kept on the evidence of {counted(documents, 'document')}.",
            hint=f"Ask for one of at least {least:.2g} and under 1, such as 0.05.",
        )
    wrong = np.asarray((decision.decide(scores) != truth).any(axis=1))
    nearest = nearest_margin(scores, decision.values)
    cuts = np.unique(np.append(nearest, -np.inf))
    order = np.argsort(nearest, kind="stable")
    caught = np.concatenate([[0], np.cumsum(wrong[order])])
    # How many wrong ones are looked at with each cut.
    passed = wrong.sum() - caught[np.searchsorted(nearest[order], cuts, side="right")]
    cut = float(cuts[np.flatnonzero(passed + 1 <= risk * (documents + 1) * ROUNDING)[0]])
    return Gate(
        risk=risk,
        cut=cut,
        documents=documents,
        review_share=float((nearest <= cut).mean()),
        wrong_share=float(wrong.mean()),
    )


def nearest_margin(scores: NDArray[np.floating], thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """(docs,) logits from the label nearest to its threshold; infinite where none can be predicted."""
    distance = np.abs(logit(scores) - logit(np.minimum(thresholds, 1.0)))
    return np.asarray(np.where(thresholds > 1, np.inf, distance).min(axis=1))
