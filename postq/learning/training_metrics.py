"""What a training says of itself in metrics.json of its bundle."""

from typing import Any

from postq.contracts.recipes import EncoderRecipe, TfidfRecipe
from postq.learning.bootstrap import difference, f1_samples
from postq.learning.data import TrainingData
from postq.learning.detectors import detect_threshold_overfit
from postq.learning.hooks import Hooks
from postq.learning.judging import JudgedModel, comparison_rows
from postq.learning.outcome import BASELINE, Outcome, told


def training_metrics(
    recipe: TfidfRecipe | EncoderRecipe,
    data: TrainingData,
    main: Outcome,
    baseline: Outcome | None,
    *,
    name: str,
    hooks: Hooks,
) -> dict[str, Any]:
    """The whole of metrics.json; holds no times, so that equal trainings give equal bundles."""
    rows = comparison_rows(main.judged, model=name, kind=recipe.model)
    if baseline:
        rows += comparison_rows(baseline.judged, model=BASELINE, kind="tfidf")
    return {
        "format": 1,
        "name": name,
        "kind": recipe.model,
        "data": {
            "corpus": data.corpus,
            "documents": {
                "train": len(data.train),
                "validation": len(data.validation),
                "test": len(data.test),
            },
            "labels": len(data.labels),
        },
        "comparison": rows,
        "against_baseline": _against(main.judged, baseline.judged) if baseline else None,
        **_model_facts(main),
        "detections": [*main.detections, *_threshold_overfit(main.judged, hooks=hooks)],
        "baseline": _model_facts(baseline) if baseline else None,
    }


def _model_facts(outcome: Outcome) -> dict[str, Any]:
    return {
        "facts": outcome.trained.facts,
        "history": outcome.trained.history,
        "tuning": outcome.judged.tuning,
        "validation": outcome.judged.reports.get("validation"),
        "test": outcome.judged.reports.get("test"),
        **({} if outcome.judged.rules is None else {"rules": outcome.judged.rules}),
    }


def _against(main: JudgedModel, baseline: JudgedModel) -> dict[str, Any] | None:
    """Main − baseline on test at default thresholds, with 95 % intervals of the paired document bootstrap."""
    if "test" not in main.judged:
        return None
    samples = [
        f1_samples(one.judged["test"].truth, one.thresholds.decide(one.judged["test"].scores))
        for one in (main, baseline)
    ]
    found = {
        name: difference(getattr(samples[0], name), getattr(samples[1], name)) for name in ("micro", "macro")
    }
    return {
        f"{name}_f1": {"difference": one.value, "interval": [one.low, one.high], "clear": one.excludes_zero}
        for name, one in found.items()
    }


def _threshold_overfit(judged: JudgedModel, *, hooks: Hooks) -> list[dict[str, Any]]:
    """THRESHOLD_OVERFIT where thresholds look much better on their own documents than cross-fitted."""
    for name in ("micro_f1", "macro_f1"):
        own, honest = judged.tuning["resubstituted"][name], judged.tuning["cross_fitted"][name]
        found = detect_threshold_overfit(resubstituted_f1=own or 0.0, cross_fitted_f1=honest or 0.0)
        if found:
            return [told(found, {**found.data, "metric": name}, hooks=hooks)]
    return []
