"""Training a bundle: TF-IDF or encoder, then the same honest judgement and the same folder for both."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from postq.contracts.device import Device
from postq.contracts.recipes import EncoderRecipe, TfidfRecipe
from postq.errors import ExtraMissing
from postq.learning.bootstrap import difference, f1_samples
from postq.learning.bundle.bundle import Bundle
from postq.learning.bundle.writing import write_bundle
from postq.learning.data import TrainingData, labels_without_positives
from postq.learning.detectors import Detection, detect_empty, detect_leak, detect_threshold_overfit
from postq.learning.facets import facet_facts, facets_sentence
from postq.learning.hooks import Hooks
from postq.learning.judging import JudgedModel, Trained, Tuning, comparison_rows, judge_model
from postq.learning.labels import labels_on_all
from postq.learning.rules.telling import rules_in_short

MAIN, BASELINE = "main", "baseline"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """A trained and judged model."""

    trained: Trained
    judged: JudgedModel
    write_model_files: Callable[[Path], None]
    detections: list[dict[str, Any]] = field(default_factory=list)
    timing: dict[str, Any] = field(default_factory=dict)
    """Seconds, tokens and resumes: facts of this run, kept out of the bundle."""


def train_bundle(
    recipe: TfidfRecipe | EncoderRecipe,
    data: TrainingData,
    *,
    output: Path,
    name: str,
    device: Device,
    hooks: Hooks,
    checkpoints: Path | None = None,
    resume_from: Path | None = None,
    batch_divisor: int = 1,
) -> dict[str, Any]:
    """Train by `recipe`, tune thresholds, report on validation and test, write the bundle folder `output`.

    Beside an encoder the TF-IDF baseline is trained on the same split, unless the recipe says otherwise.
    Returns small facts for the job's row: digest, counts, and the comparison rows. Raises NotTrainable,
    StopRequested, ExtraMissing, and what writing a bundle raises.
    """
    facets = _facets(recipe, data, hooks=hooks)
    if isinstance(recipe, TfidfRecipe):
        main, baseline = _train_tfidf(recipe, data, model=MAIN, hooks=hooks), None
    else:
        main, baseline = _train_beside_baseline(
            recipe,
            data,
            device=device,
            hooks=hooks,
            checkpoints=checkpoints,
            resume_from=resume_from,
            batch_divisor=batch_divisor,
        )
    metrics = _metrics(recipe, data, main, baseline, name=name, hooks=hooks) | facets
    hooks.progress("writing", 0, 1, {})
    bundle = write_bundle(
        output,
        kind=recipe.model,
        name=name,
        labels=data.labels,
        thresholds=main.judged.thresholds,
        split=data.manifest,
        metrics=metrics,
        recipe=recipe,
        corpus=data.corpus,
        write_model_files=main.write_model_files,
        scores=[*main.judged.parts, *(baseline.judged.parts if baseline else [])],
    )
    return _in_short(bundle, metrics, timing=main.timing)


def _in_short(bundle: Bundle, metrics: Mapping[str, Any], *, timing: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "digest": bundle.digest,
        "model_digest": bundle.model_digest,
        "kind": bundle.kind,
        "labels": len(bundle.labels),
        "documents": metrics["data"]["documents"],
        "comparison": metrics["comparison"],
        "against_baseline": metrics["against_baseline"],
        "detections": [found["event"] for found in metrics["detections"]],
        **rules_in_short(metrics),
        "timing": timing,
    }


def _facets(recipe: TfidfRecipe | EncoderRecipe, data: TrainingData, *, hooks: Hooks) -> dict[str, Any]:
    """How the facets fit the learned labels, told as a note; nothing where none were given."""
    if recipe.facets is None:
        return {}
    facts = facet_facts(recipe.facets, data.labels)
    hooks.note("FACETS", facets_sentence(facts), {"severity": "info", **facts})
    return {"facets": facts}


def _train_beside_baseline(
    recipe: EncoderRecipe,
    data: TrainingData,
    *,
    device: Device,
    hooks: Hooks,
    checkpoints: Path | None,
    resume_from: Path | None,
    batch_divisor: int,
) -> tuple[_Outcome, _Outcome | None]:
    """The encoder and its baseline, where the recipe wants one.

    The cheap one comes first: should its data be at fault, hours of training are spared. Before that the
    backbone is looked up, for a misspelt name takes no baseline to find. Resumed, the baseline comes last: a
    training interrupted ten times is not to fit ten.
    """
    early = recipe.baseline and resume_from is None
    if early:
        _check_backbone(recipe)
    baseline = _baseline(recipe, data, hooks=hooks) if early else None
    main = _train_encoder(
        recipe,
        data,
        device=device,
        hooks=hooks,
        checkpoints=checkpoints,
        resume_from=resume_from,
        batch_divisor=batch_divisor,
    )
    if recipe.baseline and baseline is None:
        baseline = _baseline(recipe, data, hooks=hooks)
    return main, baseline


def _train_tfidf(recipe: TfidfRecipe, data: TrainingData, *, model: str, hooks: Hooks) -> _Outcome:
    try:
        from postq.learning.tfidf.training import train_tfidf
    except ImportError as exc:
        raise _missing("tfidf", exc) from exc
    trained = train_tfidf(recipe, data, hooks=hooks)
    tuning = Tuning(documents=trained.documents, scores=trained.out_of_fold, on="out_of_fold")
    if recipe.fit_on == "train_and_validation":
        validation: NDArray[np.float32] = trained.out_of_fold[len(data.train) :]
    else:
        validation = trained.score(data.validation, hooks=hooks)
    judged = judge_model(
        trained,
        data,
        tuning=tuning,
        validation=validation,
        recipe=recipe,
        model=model,
        hooks=hooks,
    )
    return _Outcome(
        trained=trained,
        judged=judged,
        write_model_files=trained.write_model_files,
        detections=_about_data(data, judged, hooks=hooks) if model == MAIN else [],
    )


def _about_data(data: TrainingData, judged: JudgedModel, *, hooks: Hooks) -> list[dict[str, Any]]:
    """LEAK, and EMPTY where a split lacks a label or thresholds leave many more documents without one.

    An encoder's own review tells these, of its baseline's data too.
    """
    tuning = judged.parts[0]
    predicted = judged.thresholds.decide(tuning.scores)
    found = (
        detect_leak(data.manifest),
        detect_empty(
            unreadable={},
            labels_without_positives=labels_without_positives(data),
            labels_without_negatives=labels_on_all(data.train, data.labels),
            empty_predicted_share=float((~predicted.any(axis=1)).mean()),
            empty_true_share=float((~tuning.truth.any(axis=1)).mean()),
        ),
    )
    return [_told(one, one.data, hooks=hooks) for one in found if one]


def _told(found: Detection, data: Mapping[str, Any], *, hooks: Hooks) -> dict[str, Any]:
    """The detection as metrics.json keeps it, told as a note."""
    facts = {"severity": found.severity, **data}
    hooks.note(found.event, found.message, facts)
    return {"event": found.event, "severity": found.severity, "message": found.message, "data": facts}


def _check_backbone(recipe: EncoderRecipe) -> None:
    try:
        from postq.learning.encoder.backbones import check_backbone
    except ImportError as exc:
        raise _missing("encoders", exc) from exc
    check_backbone(recipe.backbone)


def _baseline(recipe: EncoderRecipe, data: TrainingData, *, hooks: Hooks) -> _Outcome:
    """TF-IDF at its defaults on the encoder's own split, labels, thresholds, rules and seed.

    Its phases are its own.
    """

    def progress(phase: str, done: int, total: int, figures: Mapping[str, float]) -> None:
        hooks.progress(f"{BASELINE} {phase}", done, total, figures)

    own = TfidfRecipe(
        text=recipe.text,
        split=recipe.split,
        labels=recipe.labels,
        thresholds=recipe.thresholds,
        rules=recipe.rules,
        facets=recipe.facets,
        seed=recipe.seed,
    )
    return _train_tfidf(own, data, model=BASELINE, hooks=replace(hooks, progress=progress))


def _train_encoder(
    recipe: EncoderRecipe,
    data: TrainingData,
    *,
    device: Device,
    hooks: Hooks,
    checkpoints: Path | None,
    resume_from: Path | None,
    batch_divisor: int,
) -> _Outcome:
    try:
        from postq.learning.encoder.training import train_encoder
    except ImportError as exc:
        raise _missing("encoders", exc) from exc
    trained = train_encoder(
        recipe,
        data,
        device=device,
        hooks=hooks,
        checkpoints=checkpoints,
        resume_from=resume_from,
        batch_divisor=batch_divisor,
    )
    scores = trained.score(data.validation, hooks=hooks)
    judged = judge_model(
        trained,
        data,
        tuning=Tuning(documents=data.validation, scores=scores, on="validation"),
        validation=scores,
        recipe=recipe,
        model=MAIN,
        hooks=hooks,
    )
    found = [
        {"event": one.event, "severity": one.severity, "message": one.message, "data": dict(one.data)}
        for one in trained.detections
    ]
    return _Outcome(
        trained=trained,
        judged=judged,
        write_model_files=trained.write_model_files,
        detections=found,
        timing=dict(trained.timing),
    )


def _missing(extra: str, exc: ImportError) -> ExtraMissing:
    return ExtraMissing(
        f"Training needs a library that is not installed: {exc.name}.",
        hint=f"Install it with `pip install 'postq[{extra}]'`.",
    )


def _metrics(
    recipe: TfidfRecipe | EncoderRecipe,
    data: TrainingData,
    main: _Outcome,
    baseline: _Outcome | None,
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


def _model_facts(outcome: _Outcome) -> dict[str, Any]:
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
            return [_told(found, {**found.data, "metric": name}, hooks=hooks)]
    return []
