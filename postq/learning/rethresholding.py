"""A new bundle from an old one: the same model files, other thresholds, judged again from stored scores."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from postq.contracts.facets import Facets
from postq.contracts.recipes import RuleChoice, ThresholdMethod
from postq.learning.bootstrap import difference, f1_samples
from postq.learning.bundle.bundle import Bundle
from postq.learning.bundle.manifest import DESCRIPTIVE_FILES, LABELS
from postq.learning.bundle.split_file import read_split
from postq.learning.bundle.writing import write_bundle
from postq.learning.detectors import detect_threshold_overfit
from postq.learning.facets import facet_facts, facets_of
from postq.learning.judging import JudgedModel, comparison_rows
from postq.learning.proposing import kept_rules, proposed_from_bundle
from postq.learning.rejudging import BASELINE, known_counts, read_metrics, rejudge, stored_scores
from postq.learning.thresholds.tuning import tune_thresholds

OVERFIT = "THRESHOLD_OVERFIT"


def rethreshold_bundle(
    bundle: Bundle,
    *,
    method: ThresholdMethod,
    name: str,
    output: Path,
    rules: RuleChoice | None = None,
    facets: Facets | None = None,
) -> Bundle:
    """Write the bundle folder `output`: `bundle`'s model with thresholds tuned anew on its stored scores.

    Rules between labels are mined and judged anew too: those of `rules`, by default of the kind the bundle
    was judged with. `facets` are kept in its metrics; by default they are those the bundle has.

    The model digest stays, so that stored scores of documents keep their meaning; the digest and, where a
    threshold moved, the fingerprint are new. metrics.json names the parent. Needs no device and loads no
    weights. Raises NotTrainable when the bundle keeps no scores, and what writing a bundle raises.
    """
    metrics = read_metrics(bundle)
    scores = stored_scores(bundle, metrics=metrics)
    choice: RuleChoice = rules or (metrics.get("rules") or {}).get("choice", "off")
    told: dict[str, Any] = {}
    if facets is not None:
        told = {"facets": facet_facts(facets, bundle.labels) | {"given": facets.model_dump(mode="json")}}
    judged = rejudge(
        scores,
        labels=bundle.labels,
        method=method,
        score_space=bundle.score_space,
        counts=known_counts(metrics),
        seed=bundle.recipe.seed,
        proposed=proposed_from_bundle(
            choice, bundle, scores.tuning, metrics, facets=facets_of(bundle, metrics, facets)
        ),
    )
    return write_bundle(
        output,
        kind=bundle.kind,
        name=name,
        labels=bundle.labels,
        thresholds=judged.thresholds,
        split=read_split(bundle.path),
        metrics=_metrics(bundle, metrics, judged, name=name) | told,
        recipe=bundle.recipe,
        stored_recipe=bundle.manifest.recipe,
        corpus=bundle.manifest.corpus,
        write_model_files=lambda folder: link_files(bundle, folder, without=DESCRIPTIVE_FILES | {LABELS}),
        scores=[*judged.parts, *_baseline_parts(bundle, metrics)],
    )


def link_files(bundle: Bundle, folder: Path, *, without: frozenset[str] = frozenset()) -> None:
    """Hard-link a bundle's files into `folder`, or copy them where the file system cannot link.

    Bundles are never written to again, so that sharing the bytes is safe and costs no room.
    """
    for source in sorted(path for path in bundle.path.rglob("*") if path.is_file()):
        name = source.relative_to(bundle.path)
        if name.as_posix() in without:
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)


def _metrics(bundle: Bundle, before: Mapping[str, Any], judged: JudgedModel, *, name: str) -> dict[str, Any]:
    """The parent's metrics with everything anew that hangs on thresholds."""
    others = [row for row in before["comparison"] if row["model"] != before["name"]]
    kept = [found for found in before["detections"] if found["event"] != OVERFIT]
    kept_facts = {key: value for key, value in before.items() if key != "rules"}
    return {
        **kept_facts,
        **({} if judged.rules is None else {"rules": judged.rules}),
        "name": name,
        "parent": {"name": bundle.name, "digest": bundle.digest, "thresholds": bundle.thresholds.method},
        "comparison": [*comparison_rows(judged, model=name, kind=bundle.kind), *others],
        "against_baseline": _against_baseline(bundle, before, judged),
        "tuning": judged.tuning,
        "validation": judged.reports.get("validation"),
        "test": judged.reports.get("test"),
        "detections": [*kept, *threshold_overfit(judged)],
    }


def threshold_overfit(judged: JudgedModel) -> list[dict[str, Any]]:
    """The detection where thresholds look much better on their own documents than cross-fitted."""
    for name in ("micro_f1", "macro_f1"):
        own, honest = judged.tuning["resubstituted"][name], judged.tuning["cross_fitted"][name]
        found = detect_threshold_overfit(resubstituted_f1=own or 0.0, cross_fitted_f1=honest or 0.0)
        if found:
            data = {"severity": found.severity, **found.data, "metric": name}
            return [
                {"event": OVERFIT, "severity": found.severity, "message": found.message, "data": data},
            ]
    return []


def _baseline_parts(bundle: Bundle, metrics: Mapping[str, Any]) -> list[Any]:
    if not metrics.get("baseline"):
        return []
    return stored_scores(bundle, metrics=metrics, model=BASELINE).parts


def _against_baseline(
    bundle: Bundle, metrics: Mapping[str, Any], judged: JudgedModel
) -> dict[str, Any] | None:
    """Main − baseline on test, 95 % intervals of the paired bootstrap; the baseline keeps its thresholds."""
    if not metrics.get("baseline") or "test" not in judged.judged:
        return None
    theirs = stored_scores(bundle, metrics=metrics, model=BASELINE)
    if theirs.test is None:
        return None
    cut = tune_thresholds(
        theirs.tuning.truth,
        theirs.tuning.scores,
        labels=bundle.labels,
        method=metrics["baseline"]["tuning"]["method"],
        score_space="baseline",
        tuned_on=theirs.tuned_on,
        seed=bundle.recipe.seed,
    )
    own = judged.judged["test"]
    cut = cut.model_copy(update={"rules": kept_rules(metrics["baseline"])})
    ours = f1_samples(own.truth, judged.thresholds.decide(own.scores))
    base = f1_samples(theirs.test.truth, cut.decide(theirs.test.scores))
    found = {each: difference(getattr(ours, each), getattr(base, each)) for each in ("micro", "macro")}
    return {
        f"{each}_f1": {"difference": one.value, "interval": [one.low, one.high], "clear": one.excludes_zero}
        for each, one in found.items()
    }
