"""Bundles side by side on the test documents they share: a paired document bootstrap against the first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from postq.counted import counted
from postq.errors import BadInput, LabelSetMismatch
from postq.learning.bootstrap import difference, f1_by_label_samples, f1_samples, interval
from postq.learning.bundle.score_file import ScoredPart
from postq.reports.content import Report
from postq.reports.estimate import Estimate, decimal
from postq.reports.label_rows import percentiles
from postq.reports.stored import StoredBundle

SAMPLES = 2_000
LABEL_SAMPLES = 500
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One bundle on the common documents and labels, at its own default thresholds."""

    title: str
    micro: Estimate
    macro: Estimate
    micro_difference: Estimate | None
    """This bundle − the first; None for the first itself."""
    macro_difference: Estimate | None
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelDifference:
    """One label: F1 of the first bundle, and how far another is from it."""

    label: str
    support: int
    first: float | None
    other: float | None
    difference: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Rivalry:
    """Another bundle against the first, label by label."""

    title: str
    labels: tuple[LabelDifference, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Everything a comparison says."""

    titles: tuple[str, ...]
    reports: tuple[Report, ...]
    documents: int
    own_documents: tuple[int, ...]
    """Test documents of each bundle."""
    labels: tuple[str, ...]
    warnings: tuple[str, ...]
    standings: tuple[Standing, ...]
    rivalries: tuple[Rivalry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Common:
    """The rows and columns all bundles share, each bundle's predictions on them, and the truth."""

    documents: int
    labels: tuple[str, ...]
    truth: Bools
    predicted: tuple[Bools, ...]
    disagreements: int
    """(document, label) pairs on whose truth the bundles differ; the first bundle's is used."""


def compare(bundles: Sequence[StoredBundle], reports: Sequence[Report]) -> Comparison:
    """Bundles on their common test documents, found by id and content.

    Raises LabelSetMismatch when they share no test document or no label, BadInput when one keeps no scores.
    """
    titles = _titles(reports)
    common = _common(bundles, titles)
    samples = [f1_samples(common.truth, one, samples=SAMPLES) for one in common.predicted]
    standings = []
    for title, own in zip(titles, samples, strict=True):
        first = own is samples[0]
        micro = None if first else _difference(own.micro, samples[0].micro)
        macro = None if first else _difference(own.macro, samples[0].macro)
        standings.append(
            Standing(
                title=title,
                micro=_interval(own.micro),
                macro=_interval(own.macro),
                micro_difference=micro,
                macro_difference=macro,
                sentence="" if micro is None or macro is None else _sentence(title, titles[0], micro, macro),
            )
        )
    return Comparison(
        titles=titles,
        reports=tuple(reports),
        documents=common.documents,
        own_documents=tuple(_sizes(bundles)),
        labels=common.labels,
        warnings=tuple(_warnings(bundles, titles, common)),
        standings=tuple(standings),
        rivalries=tuple(_rivalries(titles, common)),
    )


def _titles(reports: Sequence[Report]) -> tuple[str, ...]:
    """Names, with the bundle's number where two bundles have one name."""
    names = [report.name for report in reports]
    numbers = [dict(report.digests)["bundle"] for report in reports]
    return tuple(
        name if names.count(name) == 1 else f"{name} (bundle {number})"
        for name, number in zip(names, numbers, strict=True)
    )


def _sizes(bundles: Sequence[StoredBundle]) -> Iterator[int]:
    for bundle in bundles:
        yield bundle.split_sizes["test"]


def _common(bundles: Sequence[StoredBundle], titles: Sequence[str]) -> _Common:
    parts = [_test_part(bundle, title) for bundle, title in zip(bundles, titles, strict=True)]
    keys = [_document_keys(bundle, part) for bundle, part in zip(bundles, parts, strict=True)]
    shared = [key for key in keys[0] if all(key in other for other in keys[1:])]
    labels = [name for name in bundles[0].bundle.labels if all(name in one.bundle.labels for one in bundles)]
    if not shared or not labels:
        raise LabelSetMismatch(
            f"The bundles share no test {'label' if shared else 'document'}, so nothing can be compared.",
            hint="Compare bundles trained on one corpus with one split; see each with: postq report BUNDLE.",
        )
    truths, predicted = [], []
    for bundle, part, rows_of in zip(bundles, parts, keys, strict=True):
        rows = [rows_of[key] for key in shared]
        columns = [bundle.bundle.labels.index(name) for name in labels]
        truths.append(part.truth[np.ix_(rows, columns)])
        predicted.append(bundle.bundle.thresholds.decide(part.scores)[np.ix_(rows, columns)])
    return _Common(
        documents=len(shared),
        labels=tuple(labels),
        truth=truths[0],
        predicted=tuple(predicted),
        disagreements=max(int((truth != truths[0]).sum()) for truth in truths),
    )


def _test_part(bundle: StoredBundle, title: str) -> ScoredPart:
    part = bundle.part("test")
    if part is None:
        raise BadInput(
            f"{title} keeps no scores of test documents, so it cannot be compared document by document.",
            hint="Train with a test split; scores over 256 MB are not kept.",
        )
    return part


def _document_keys(bundle: StoredBundle, part: ScoredPart) -> dict[tuple[str, bytes], int]:
    """(id, content hash) of each test document to its row: an id alone may name another text elsewhere."""
    hashes = {entry.document_id: entry.content_hash for entry in bundle.split if entry.split == "test"}
    return {(name, hashes[name]): row for row, name in enumerate(part.document_ids) if name in hashes}


def _warnings(bundles: Sequence[StoredBundle], titles: Sequence[str], common: _Common) -> Iterator[str]:
    for bundle, title in zip(bundles, titles, strict=True):
        left_out = bundle.split_sizes["test"] - common.documents
        if left_out:
            documents = counted(left_out, "test document")
            yield f"{documents} of {title} left out: not all bundles were tested on the same."
        without = len(bundle.bundle.labels) - len(common.labels)
        if without:
            yield f"{counted(without, 'label')} of {title} left out: not all bundles predict the same."
        rules = bundle.bundle.thresholds.rules
        if rules:
            told = counted(len(rules.rules), "rule")
            yield f"{title} decides by its thresholds and by {told} between labels."
    if common.disagreements:
        differing = counted(common.disagreements, "label of a document", "labels of documents")
        yield f"The bundles differ on the truth of {differing}; that of {titles[0]} is used."


def _interval(samples: NDArray[np.float64]) -> Estimate:
    found = interval(samples)
    return Estimate(value=found.value, low=found.low, high=found.high)


def _difference(one: NDArray[np.float64], other: NDArray[np.float64]) -> Estimate:
    found = difference(one, other)
    return Estimate(value=found.value, low=found.low, high=found.high)


def _sentence(title: str, first: str, micro: Estimate, macro: Estimate) -> str:
    return " ".join(
        _outcome(metric, one, title, first) for metric, one in (("micro-F1", micro), ("macro-F1", macro))
    )


def _outcome(metric: str, found: Estimate, title: str, first: str) -> str:
    low, high = found.low or 0.0, found.high or 0.0
    if low <= 0 <= high:
        apart = f"{title} \N{MINUS SIGN} {first} is {found.words(sign=True)}"
        return f"In {metric} no winner can be named: {apart}, an interval that holds 0."
    if low > 0:
        return f"In {metric} {title} beats {first} by {found.words()}."
    lead = Estimate(value=-(found.value or 0.0), low=-high, high=-low)
    return f"In {metric} {first} beats {title} by {lead.words()}."


def _rivalries(titles: Sequence[str], common: _Common) -> Iterator[Rivalry]:
    samples = [f1_by_label_samples(common.truth, one, samples=LABEL_SAMPLES) for one in common.predicted]
    support = common.truth.sum(axis=0)
    order = np.argsort(-support, kind="stable").tolist()
    for title, own in zip(titles[1:], samples[1:], strict=True):
        apart = own - samples[0]
        yield Rivalry(
            title=title,
            labels=tuple(
                LabelDifference(
                    label=common.labels[at],
                    support=int(support[at]),
                    first=_figure(samples[0][0, at]),
                    other=_figure(own[0, at]),
                    difference=_apart(apart[:, at]),
                )
                for at in order
            ),
        )


def _apart(column: NDArray[np.float64]) -> Estimate:
    """A label neither truth nor prediction of both holds has no difference."""
    value, bounds = _figure(column[0]), percentiles(column[1:])
    if value is None or bounds is None:
        return Estimate(value=value)
    return Estimate(value=value, low=bounds[0], high=bounds[1])


def _figure(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def told_difference(found: Estimate | None) -> str:
    """For a table: `+0.012 (+0.001 to +0.023)`, or nothing for the first bundle."""
    return "" if found is None else f"{decimal(found.value, sign=True)} ({found.interval(sign=True)})"
