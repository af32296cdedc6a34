"""Building a report from what is stored: no scoring, no training, nothing but arithmetic on kept scores."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from postq.counted import counted
from postq.errors import LabelSetMismatch
from postq.learning.bundle.score_file import ScoredPart
from postq.learning.rules.telling import rule_sentence, rules_sentence
from postq.reports import fact_rows
from postq.reports.content import (
    Calibration,
    ComparisonRow,
    Course,
    FalsePositives,
    Finding,
    LengthRow,
    Report,
    TrackRow,
)
from postq.reports.curves import pooled_curve, precision_recall_curves, sweep_thresholds, telling_labels
from postq.reports.estimate import estimate
from postq.reports.label_rows import label_rows
from postq.reports.sentences import NOT_LOOKED_FOR, baseline_sentence, headline, twins, verdict
from postq.reports.stored import BASELINE, StoredBundle
from postq.reports.subject import Note, Subject

SPLITS = ("test", "validation")
KINDS: Mapping[str, str] = {"tfidf": "TF-IDF", "encoder": "Encoder"}
NO_SCORES = (
    "The bundle keeps no scores of these documents, so there are no curves and no intervals per label."
)
NO_DOCUMENTS = "Neither validation nor test held a document, so nothing was measured."


def build_report(subject: Subject, stored: StoredBundle, *, labels: Sequence[str] = ()) -> Report:
    """The report of a bundle, or of the evaluation the subject names.

    `labels` are drawn in the precision-recall plot instead of ones chosen by support. Raises
    LabelSetMismatch for one the bundle does not know.
    """
    _check_labels(labels, stored)
    on, facts = _judged(subject, stored)
    part = _scores_behind(stored, on, facts, own_split=subject.evaluation is None or on != "all")
    metrics, bundle = stored.metrics, stored.bundle
    default = facts["tracks"]["all"]["default"]
    watermark = _watermark(subject)
    own = _is_own_split(subject, stored, on, facts)
    chosen = list(labels) or (telling_labels(bundle.labels, part.truth) if part else [])
    curves = precision_recall_curves(part, bundle.labels, chosen=chosen) if part else []
    beside = stored.part(on, model=BASELINE) if on in SPLITS and part else None  # type: ignore[arg-type]
    if beside:
        curves.insert(1, pooled_curve(beside, "TF-IDF baseline, pooled"))
    return Report(
        name=bundle.name,
        kind=bundle.kind,
        subtitle=_subtitle(subject, stored),
        watermark=watermark,
        headline=headline(
            bundle.name,
            default,
            on=on,
            documents=int(facts["documents"]),
            twins=_twins(subject, stored, on, own=own),
            leaked=bool(watermark),
        ),
        verdict=verdict(metrics.get("against_baseline"), name=bundle.name) if own and on == "test" else None,
        baseline_sentence=baseline_sentence(metrics, kind=bundle.kind, on=on if own else None),
        on=on,
        comparison=tuple(_comparison(subject, stored, on, facts)),
        tracks=tuple(_tracks(facts)),
        false_positives=tuple(_false_positives(facts)),
        metrics=tuple(_all_metrics(facts)),
        course=_course(metrics),
        baseline_course=_course(metrics["baseline"]) if metrics.get("baseline") else None,
        labels=label_rows(facts["by_label"], bundle.thresholds, part),
        precision_recall=tuple(curves),
        sweep=sweep_thresholds(part, bundle.thresholds) if part else None,
        no_curves="" if part else NO_SCORES,
        calibration=Calibration(
            brier=facts["calibration"]["brier"],
            ece=facts["calibration"]["ece"],
            bins=tuple(facts["calibration"]["bins"]),
        ),
        lengths=tuple(map(_length, facts["by_length"])),
        findings=tuple(_findings(subject, metrics)),
        notes=tuple(f"{note.event}: {note.message}" for note in subject.notes if not _is_finding(note)),
        rules=tuple(_rules(stored)),
        data_facts=fact_rows.data_facts(subject, stored, facts),
        configuration=fact_rows.configuration(stored),
        versions=fact_rows.versions(stored),
        digests=fact_rows.digests(subject, stored),
        training_facts=fact_rows.training_facts(metrics),
        raw=facts,
    )


def _check_labels(labels: Sequence[str], stored: StoredBundle) -> None:
    unknown = [label for label in labels if label not in stored.bundle.labels]
    if unknown:
        raise LabelSetMismatch(
            f"The bundle knows no label '{unknown[0]}'.",
            hint=f"See its labels with: postq bundles show {stored.bundle.name}.",
        )


def _judged(subject: Subject, stored: StoredBundle) -> tuple[str, Mapping[str, Any]]:
    """Which documents the report is about, and the stored figures on them."""
    if subject.evaluation is not None:
        return subject.evaluation.split, subject.evaluation.report
    for split in SPLITS:
        found = stored.metrics.get(split)
        if found:
            return split, found
    raise LabelSetMismatch(NO_DOCUMENTS, hint="Train with a validation or a test split.")


def _is_own_split(subject: Subject, stored: StoredBundle, on: str, facts: Mapping[str, Any]) -> bool:
    """Whether the documents judged are all of a split that the bundle, and its baseline, was judged on.

    Another version of the corpus may hold some of a split only; stored figures are then on other documents.
    """
    stored_facts = stored.metrics.get(on) if on in SPLITS else None
    if subject.evaluation is None or not stored_facts:
        return subject.evaluation is None
    return _supports(stored_facts) == _supports(facts)


def _supports(facts: Mapping[str, Any]) -> tuple[int, dict[str, int]]:
    """How many documents were judged, and how many of them carry each label."""
    return int(facts["documents"]), {one["label"]: int(one["support"]) for one in facts["by_label"]}


def _twins(subject: Subject, stored: StoredBundle, on: str, *, own: bool) -> str:
    """What is known of near-duplicates between the documents judged and those learned from."""
    if subject.evaluation is not None and subject.evaluation.leaks.get("near_duplicates_unchecked"):
        return NOT_LOOKED_FOR
    return twins(stored.near_duplicates_in_test, at_most=not own) if on == "test" else ""


def _scores_behind(
    stored: StoredBundle, on: str, facts: Mapping[str, Any], *, own_split: bool
) -> ScoredPart | None:
    """The kept scores of exactly the documents that were judged, or None."""
    if not own_split or on not in SPLITS:
        return None
    part = stored.part(on)  # type: ignore[arg-type]
    if part is None:
        return None
    kept = dict(zip(stored.bundle.labels, np.asarray(part.truth.sum(axis=0)).tolist(), strict=True))
    return part if (len(part.truth), kept) == _supports(facts) else None


def _watermark(subject: Subject) -> str:
    if subject.evaluation is None or not subject.evaluation.leaks.get("documents"):
        return ""
    leaks = subject.evaluation.leaks
    return str(
        leaks.get("watermark")
        or f"CONTAMINATED: trained or tuned on {counted(leaks['documents'], 'document')}"
    )


def _subtitle(subject: Subject, stored: StoredBundle) -> str:
    kind = KINDS.get(stored.bundle.kind, str(stored.bundle.kind).capitalize())
    what = f"{kind} bundle {subject.bundle_id}"
    names = "".join(f" · @{alias}" for alias in subject.aliases)
    if subject.evaluation is None:
        return f"{what}{names} · trained on {stored.bundle.manifest.corpus}"
    judged = subject.evaluation
    return f"{what}{names} · evaluation job {judged.job_id} on {judged.corpus}, {judged.split}"


def _comparison(
    subject: Subject, stored: StoredBundle, on: str, facts: Mapping[str, Any]
) -> Iterator[ComparisonRow]:
    """Every model at every cut; an evaluation's own figures stand before those of the training."""
    if subject.evaluation is not None:
        for cut, one in facts["tracks"]["all"].items():
            yield _comparison_row(
                {
                    **one,
                    "model": f"{stored.bundle.name} (job {subject.evaluation.job_id})",
                    "split": on,
                    "thresholds": cut,
                    "map": facts["ranking"]["map"],
                }
            )
    order = {name: at for at, name in enumerate(("test", "out_of_fold", "validation"))}
    rows = stored.metrics.get("comparison") or []
    for one in sorted(rows, key=lambda row: (row["model"] == BASELINE, order.get(row["split"], 9))):
        yield _comparison_row(one)


def _comparison_row(facts: Mapping[str, Any]) -> ComparisonRow:
    return ComparisonRow(
        model="TF-IDF baseline" if facts["model"] == BASELINE else str(facts["model"]),
        on=str(facts["split"]),
        cut=str(facts["thresholds"]),
        micro=estimate(facts["micro_f1"], facts.get("micro_f1_interval")),
        macro=estimate(facts["macro_f1"], facts.get("macro_f1_interval")),
        precision=facts["micro_precision"],
        recall=facts["micro_recall"],
        labels_per_document=facts["labels_per_document"],
        exact_match=facts["exact_match"],
        mean_average_precision=facts.get("map"),
    )


def _tracks(facts: Mapping[str, Any]) -> Iterator[TrackRow]:
    names = {"all": "all documents", "labelled": "documents with a label"}
    for track, cuts in facts["tracks"].items():
        for cut, one in cuts.items():
            yield TrackRow(
                track=names.get(track, track),
                cut=cut,
                documents=int(one["documents"]),
                micro=estimate(one["micro_f1"], one.get("micro_f1_interval")),
                macro=estimate(one["macro_f1"], one.get("macro_f1_interval")),
            )


def _false_positives(facts: Mapping[str, Any]) -> Iterator[FalsePositives]:
    for cut, one in facts["without_label"].items():
        yield FalsePositives(cut=cut, **one)


def _all_metrics(facts: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, float | None]]]:
    cuts = facts["tracks"]["all"]
    for name, value in cuts["default"].items():
        if not name.endswith("_interval") and name != "documents" and not isinstance(value, str | list):
            yield name, {cut: one[name] for cut, one in cuts.items()}


def _course(metrics: Mapping[str, Any]) -> Course:
    facts = metrics.get("facts") or {}
    candidates = {float(value): float(found) for value, found in (facts.get("candidates") or {}).items()}
    return Course(
        epochs=tuple(metrics.get("history") or ()),
        best_epoch=facts.get("best_epoch"),
        prior_loss=facts.get("prior_loss"),
        candidates=dict(sorted(candidates.items())),
        chosen=facts.get("regularisation"),
    )


def _length(facts: Mapping[str, Any]) -> LengthRow:
    low, high = facts["from_words"], facts["to_words"]
    return LengthRow(
        name=f"{low:,} and more" if high is None else f"{low:,} to {high - 1:,}",
        documents=int(facts["documents"]),
        micro_f1=facts["micro_f1"],
        macro_f1=facts["macro_f1_supported"],
        labels_per_document=facts["labels_per_document"],
        true_labels_per_document=facts["true_labels_per_document"],
    )


def _findings(subject: Subject, metrics: Mapping[str, Any]) -> Iterator[Finding]:
    """Detectors kept with the bundle, then warnings of the jobs' notes that nothing else repeats."""
    told = [
        Finding(event=one["event"], severity=one["severity"], message=one["message"])
        for one in metrics.get("detections") or []
    ]
    told += [
        Finding(
            event=note.event.removeprefix("detector.").upper(), severity=note.severity, message=note.message
        )
        for note in subject.notes
        if _is_finding(note) and not _is_the_watermark(note, subject)
    ]
    yield from {(one.event, one.message): one for one in reversed(told)}.values()


def _rules(stored: StoredBundle) -> Iterator[str]:
    facts, kept = stored.metrics.get("rules"), stored.bundle.thresholds.rules
    if facts:
        yield rules_sentence(facts)
    for rule in kept.rules if kept else ():
        yield rule_sentence(rule.model_dump())


def _is_the_watermark(note: Note, subject: Subject) -> bool:
    """The leak of the evaluation itself, which the report says above everything else."""
    judged = subject.evaluation
    return judged is not None and (note.job_id, note.event) == (judged.job_id, "detector.leak")


def _is_finding(note: Note) -> bool:
    """Detectors say so by their name or by a severity above a mere note's."""
    return note.severity != "info" or note.event.startswith("detector.")
