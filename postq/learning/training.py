"""Training a bundle: TF-IDF or encoder, then the same honest judgement and the same folder for both."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from postq.contracts.device import Device
from postq.contracts.recipes import EncoderRecipe, TfidfRecipe
from postq.errors import ExtraMissing, NotTrainable
from postq.learning.bundle.summary import in_short
from postq.learning.bundle.writing import write_bundle
from postq.learning.data import TrainingData, labels_without_positives
from postq.learning.detectors import detect_empty, detect_leak
from postq.learning.facets import facet_facts, facets_sentence
from postq.learning.hooks import Hooks
from postq.learning.judging import JudgedModel, Tuning, judge_model
from postq.learning.labels import labels_on_all
from postq.learning.outcome import BASELINE, MAIN, Outcome, told
from postq.learning.training_metrics import training_metrics


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
    metrics = training_metrics(recipe, data, main, baseline, name=name, hooks=hooks) | facets
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
    return in_short(bundle, metrics) | {"timing": main.timing}


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
) -> tuple[Outcome, Outcome | None]:
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


def _train_tfidf(recipe: TfidfRecipe, data: TrainingData, *, model: str, hooks: Hooks) -> Outcome:
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
    return Outcome(
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
    return [told(one, one.data, hooks=hooks) for one in found if one]


def _check_backbone(recipe: EncoderRecipe) -> None:
    try:
        from postq.learning.encoder.backbones.loading import check_backbone
    except ImportError as exc:
        raise _missing("encoders", exc) from exc
    check_backbone(recipe.backbone)


def _baseline(recipe: EncoderRecipe, data: TrainingData, *, hooks: Hooks) -> Outcome:
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
    try:
        return _train_tfidf(own, data, model=BASELINE, hooks=replace(hooks, progress=progress))
    except NotTrainable as exc:
        raise NotTrainable(
            f"The TF-IDF baseline beside the encoder cannot be trained. {exc.message}",
            hint="Train without it: --no-baseline.",
        ) from exc


def _train_encoder(
    recipe: EncoderRecipe,
    data: TrainingData,
    *,
    device: Device,
    hooks: Hooks,
    checkpoints: Path | None,
    resume_from: Path | None,
    batch_divisor: int,
) -> Outcome:
    try:
        from postq.learning.encoder.training.fine_tuning import train_encoder
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
    return Outcome(
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
