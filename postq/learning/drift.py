"""Drift: whether one set of predictions looks as another did, label by label, with few false alarms.

Shares are compared by Fisher's exact test, since nights are small and labels rare: intervals of a difference
by normal theory, Wilson's and Newcombe's too, gave alarms on every tenth quiet night of forty documents.
Wilson's intervals are what is shown. Scores are compared by the population stability index, against the size
that chance gives it (Yurdakul 2018: about chi-square, scaled by 1/n + 1/m). Each family of checks shares
`ALPHA` over its labels after Bonferroni, so that a quiet night gives an alarm of a family at most about once
in a hundred nights, however many labels there are.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from postq.counted import counted
from postq.learning.logits import logit
from postq.learning.metrics.wilson import wilson_interval
from postq.learning.thresholds.decision import Decision

ALPHA = 0.01
"""Chance of any false alarm in one family of checks."""
RATIO = 1.25
"""Shares that differ by less than a quarter raise no alarm, however certain the difference."""
PSI_ALARM = 0.25
"""The customary bound of a large shift; chance alone must also not explain it."""
PSI_BINS = 10
FEWEST_FOR_PSI = 100
"""Documents on either side under which scores are not compared."""
EDGES = np.linspace(-15.75, 15.75, 64)
"""Logits between which scores are counted, before bins of equal reference mass are made of them."""

Counts = NDArray[np.int64]
AlarmKind = Literal["flipped", "no_label", "label_share", "scores"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """What is kept of one set of predictions."""

    documents: int
    empty: int
    """Documents with no label over its threshold."""
    predicted: Counts
    """(labels,) documents with the label over its threshold."""
    histogram: Counts
    """(labels, len(EDGES) + 1) scores between EDGES, on the logit scale."""

    def __add__(self, other: "Sketch") -> "Sketch":
        """The sketch of both sets together."""
        return Sketch(
            documents=self.documents + other.documents,
            empty=self.empty + other.empty,
            predicted=self.predicted + other.predicted,
            histogram=self.histogram + other.histogram,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Flips:
    """Documents scored before with equal content by an equal model: their labels should be the same."""

    compared: int = 0
    flipped: int = 0
    examples: tuple[tuple[int, int, int], ...] = ()
    """Row, and the job and row it differs from; the first few."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareChange:
    """A share now and before, each with Wilson's 95 % interval."""

    share: float
    interval: tuple[float, float]
    before: float
    before_interval: tuple[float, float]
    alarm: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelDrift:
    """One label now and before."""

    label: str
    predicted: ShareChange
    psi: float | None
    """None where scores are not comparable or there are too few."""
    psi_limit: float | None
    """From which on it is an alarm."""

    @property
    def scores_alarm(self) -> bool:
        """Whether the scores have shifted."""
        return self.psi is not None and self.psi_limit is not None and self.psi >= self.psi_limit

    @property
    def alarm(self) -> bool:
        """Whether anything of it has."""
        return self.predicted.alarm or self.scores_alarm


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One thing a person should look at."""

    kind: AlarmKind
    label: str | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The whole comparison."""

    documents: int
    reference_documents: int
    empty: ShareChange
    labels: tuple[LabelDrift, ...]
    flips: Flips

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """Gravest first: flips, then documents without a label, then labels by name."""
        return (*_flip_alarms(self.flips), *_empty_alarms(self.empty), *_label_alarms(self.labels))


def sketch(scores: NDArray[np.floating], decision: Decision) -> Sketch:
    """The sketch of (docs, labels) scores and of what is predicted from them."""
    decided = decision.decide(scores)
    return Sketch(
        documents=len(scores),
        empty=int((~decided.any(axis=1)).sum()),
        predicted=decided.sum(axis=0),
        histogram=_histogram(scores),
    )


def _histogram(scores: NDArray[np.floating]) -> Counts:
    cells = len(EDGES) + 1
    places = np.searchsorted(EDGES, logit(scores)) + cells * np.arange(scores.shape[1])
    counts = np.bincount(places.ravel(), minlength=cells * scores.shape[1])
    return counts.reshape(scores.shape[1], cells).astype(np.int64)


def compare_sketches(
    labels: Sequence[str],
    now: Sketch,
    before: Sketch,
    *,
    flips: Flips | None = None,
    same_scores: bool = True,
) -> Drift:
    """`now` against `before`, which both hold documents; `same_scores` says that one model gave both."""
    each = ALPHA / max(1, len(labels))
    enough = min(now.documents, before.documents) >= FEWEST_FOR_PSI
    found = []
    for at, label in enumerate(labels):
        psi, limit = None, None
        if same_scores and enough:
            psi, limit = stability_index(now.histogram[at], before.histogram[at], alpha=each)
        shares = share_change(
            (int(now.predicted[at]), now.documents), (int(before.predicted[at]), before.documents), alpha=each
        )
        found.append(LabelDrift(label=label, predicted=shares, psi=psi, psi_limit=limit))
    return Drift(
        documents=now.documents,
        reference_documents=before.documents,
        empty=share_change((now.empty, now.documents), (before.empty, before.documents), alpha=ALPHA),
        labels=tuple(found),
        flips=flips or Flips(),
    )


def share_change(now: tuple[int, int], before: tuple[int, int], *, alpha: float) -> ShareChange:
    """Hits of documents now and before; an alarm when they surely differ, and by a quarter or more."""
    share, earlier = now[0] / now[1], before[0] / before[1]
    apart = max(share, earlier) >= RATIO * min(share, earlier)
    return ShareChange(
        share=share,
        interval=_wilson(now),
        before=earlier,
        before_interval=_wilson(before),
        alarm=apart and exact_test(now, before) < alpha,
    )


def exact_test(one: tuple[int, int], other: tuple[int, int]) -> float:
    """Fisher's exact test of two shares, each given as hits and trials: twice the smaller tail, at most 1."""
    (first, trials), (second, more_trials) = one, other
    hits = first + second
    possible = np.arange(max(0, hits - more_trials), min(hits, trials) + 1)
    ways = _log_choose(trials, possible) + _log_choose(more_trials, hits - possible)
    chances = np.exp(ways - ways.max())
    chances /= chances.sum()
    at = first - possible[0]
    return min(1.0, 2 * float(min(chances[: at + 1].sum(), chances[at:].sum())))


def _log_choose(among: int, chosen: Counts) -> NDArray[np.float64]:
    """log of `among` over `chosen`, for many values of it."""
    logs = _log_factorials(among)
    return np.asarray(logs[among] - logs[chosen] - logs[among - chosen])


@lru_cache(maxsize=4)
def _log_factorials(most: int) -> NDArray[np.float64]:
    """(most + 1,) for all numbers up to `most`; the labels of one comparison share two of them."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, most + 1)))])


def stability_index(now: Counts, before: Counts, *, alpha: float) -> tuple[float, float]:
    """The population stability index of two histograms over the same cells, and the size to alarm at.

    Cells are merged to at most PSI_BINS of about equal mass before; half a document is added to each, so
    that an empty one stays finite.
    """
    starts = _starts(before)
    bins = len(starts)
    p, q = (np.add.reduceat(each, starts) + 0.5 for each in (now, before))
    p, q = p / p.sum(), q / q.sum()
    index = float(((p - q) * np.log(p / q)).sum())
    chance = (1 / now.sum() + 1 / before.sum()) * _chi_square(bins - 1, 1 - alpha) if bins > 1 else 0.0
    return index, max(PSI_ALARM, float(chance))


def _starts(counts: Counts) -> list[int]:
    """First cells of the bins: a bin ends with the cell that fills its share."""
    share = counts.sum() / PSI_BINS
    starts, held = [0], 0
    for cell, count in enumerate(counts.tolist()):
        if held >= share and counts[cell:].sum() >= share:
            starts.append(cell)
            held = 0
        held += count
    return starts


def _chi_square(degrees: int, probability: float) -> float:
    """Quantile after Wilson and Hilferty 1931."""
    part = 2 / (9 * degrees)
    return degrees * max(0.0, 1 - part + _quantile(probability) * math.sqrt(part)) ** 3


def _quantile(probability: float) -> float:
    return NormalDist().inv_cdf(probability)


def _wilson(counts: tuple[int, int]) -> tuple[float, float]:
    found = wilson_interval(*counts)
    assert found is not None
    return found


def percent(share: float) -> str:
    """`20.1 %`."""
    return f"{100 * share:.1f} %"


def _flip_alarms(flips: Flips) -> list[Alarm]:
    if not flips.flipped:
        return []
    row, job, other = flips.examples[0]
    text = (
        f"{flips.flipped:,} of {counted(flips.compared, 'document')} scored before with equal content and "
        f"fingerprint got other labels, such as row {row:,} against row {other:,} of job {job}"
    )
    return [Alarm(kind="flipped", label=None, sentence=text)]


def _empty_alarms(empty: ShareChange) -> list[Alarm]:
    if not empty.alarm:
        return []
    text = f"{percent(empty.share)} of documents got no label, {percent(empty.before)} before"
    return [Alarm(kind="no_label", label=None, sentence=text)]


def _label_alarms(labels: Sequence[LabelDrift]) -> list[Alarm]:
    found = []
    for each in sorted(labels, key=lambda one: one.label):
        shares = each.predicted
        if shares.alarm:
            text = f"'{each.label}' on {percent(shares.share)} of documents, {percent(shares.before)} before"
            found.append(Alarm(kind="label_share", label=each.label, sentence=text))
        if each.scores_alarm:
            text = (
                f"scores of '{each.label}' have shifted: PSI {each.psi:.2f}, alarm from {each.psi_limit:.2f}"
            )
            found.append(Alarm(kind="scores", label=each.label, sentence=text))
    return found
