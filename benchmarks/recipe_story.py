"""The published recipe's story in miniature: positive weights, learning rates, schedule, kept epoch."""

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._labelled_corpora import FILES, FOLDER, require_corpora, split_corpus
from benchmarks.recording import record
from postq.contracts.device import Device
from postq.contracts.document import SplitName
from postq.contracts.presets import PRESETS
from postq.contracts.recipes import EncoderRecipe, LabelRecipe, SplitRecipe, TfidfRecipe, ThresholdMethod
from postq.corpus.location import Input
from postq.corpus.records import RawRecord
from postq.corpus.snapshot_writer import write_snapshot
from postq.corpus.source import read_source
from postq.learning.bundle import open_bundle
from postq.learning.bundle.score_file import ScoredPart, read_scores
from postq.learning.hooks import Hooks
from postq.learning.metrics.counts import summary
from postq.learning.rejudging import read_metrics
from postq.learning.thresholds.tuning import tune_thresholds
from postq.learning.training import train_bundle

CORPUS = "reuters21578"
SIZES: dict[SplitName, int] = {"train": 800, "validation": 300, "test": 600}
"""Documents drawn from each official split."""
STORY_RATES = (2e-5, 1e-5, 5e-6)
SCALED_RATES = (1e-3, 5e-4, 1e-4)
"""For the miniature: the story's training took some 3,700 steps of twelve layers, this one 250 of two."""
MAIN_RATE = 5e-4
BASELINE = "TF-IDF"
SEEDS = (42, 43, 44)
LAYERS, MAX_TOKENS, MIN_LABEL_COUNT = 2, 32, 8
ALWAYS = ("LEAK", "TRUNCATED")
"""Reuters' own split parts near-duplicates, and its stories are cut on purpose here."""
CUTS: dict[str, ThresholdMethod] = {
    "0.5": "half",
    "global": "global",
    "per label": "per_label",
    "default": "micro_macro",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One training of the story."""

    name: str
    seed: int
    changes: dict[str, Any]

    @property
    def key(self) -> str:
        """Names the arm's result among those of earlier runs."""
        return f"{self.name}, seed {self.seed}"


def arms() -> list[Arm]:
    """Every arm, the main contrast and its seeds first, so that a run cut short has what matters."""
    contrast = [_arm(loss, MAIN_RATE, seed) for seed in SEEDS for loss in _LOSSES]
    variants = [
        Arm(name=name, seed=seed, changes={"loss": "bce_pos_weight", "learning_rate": MAIN_RATE, **changes})
        for seed in SEEDS
        for name, changes in _VARIANTS.items()
    ]
    rates = [_arm(loss, rate, SEEDS[0]) for rate in (*SCALED_RATES, *STORY_RATES) for loss in _LOSSES]
    seed, pair = len(_VARIANTS), len(_LOSSES)
    ordered = (*contrast, *variants[:seed], *rates[:pair], *variants[seed:], *rates[pair:])
    return list({arm.key: arm for arm in ordered}.values())


_LOSSES = {"plain": "bce", "pos_weight": "bce_pos_weight"}
_VARIANTS: dict[str, dict[str, Any]] = {
    "plain, rate 5e-04, prior bias, epoch by mAP": {"loss": "bce", "prior_bias": True, "select_on": "map"},
    "plain, rate 5e-04, epoch by mAP": {"loss": "bce", "select_on": "map"},
    "pos_weight, rate 5e-04, epoch by mAP": {"select_on": "map"},
    "pos_weight, rate 5e-04, schedule bug": {"schedule_bug": True},
}


def _arm(loss: str, rate: float, seed: int) -> Arm:
    changes = {"loss": _LOSSES[loss], "learning_rate": rate}
    return Arm(name=f"{loss}, rate {rate:.0e}", seed=seed, changes=changes)


def recipe_of(arm: Arm, *, backbone: Path) -> EncoderRecipe:
    """The preset `legal-longformer`, cut down to Reuters' short stories, with the arm's changes."""
    preset = PRESETS["legal-longformer"]
    assert isinstance(preset, EncoderRecipe)
    return preset.model_copy(
        update={
            "backbone": str(backbone),
            "text": "headings_and_paragraphs",
            "split": SplitRecipe(official=True),
            "labels": LabelRecipe(min_label_count=MIN_LABEL_COUNT, keep_unlabelled=False),
            "max_tokens": MAX_TOKENS,
            "baseline": False,
            "seed": arm.seed,
            **arm.changes,
        }
    )


def subset(folder: Path) -> None:
    """Write the snapshot of a random part of each official split below `folder`; the same part each time."""
    records = [one for split, size in SIZES.items() for one in _drawn(split, size)]
    write_snapshot(records, folder / CORPUS, sources=list(FILES.values()), created=datetime.now(UTC))


def _drawn(split: SplitName, size: int) -> list[RawRecord]:
    source = Input(path=str(FOLDER / CORPUS / FILES[split]), split=split)
    records = [one for one in read_source([source]) if isinstance(one, RawRecord)]
    return random.Random(42).sample(records, size)


def short_backbone(source: Path, folder: Path, *, layers: int) -> Path:
    """The first `layers` layers of a Longformer, with its embeddings and its tokenizer."""
    from transformers import AutoTokenizer, LongformerModel

    whole: Any = LongformerModel.from_pretrained(source, add_pooling_layer=False, local_files_only=True)
    whole.encoder.layer = whole.encoder.layer[:layers]
    whole.config.num_hidden_layers = layers
    whole.config.attention_window = whole.config.attention_window[:layers]
    whole.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, local_files_only=True).save_pretrained(folder)
    return folder


def measure(arm: Arm, folder: Path, *, backbone: Path) -> dict[str, Any]:
    """Train one arm and judge it; one row."""
    recipe = recipe_of(arm, backbone=backbone)
    row, metrics = _trained(recipe, folder, name=arm.key)
    history = metrics["history"]
    return {
        "arm": arm.name,
        "seed": arm.seed,
        **row,
        "epochs": len(history),
        "kept_epoch": metrics["facts"]["best_epoch"],
        "validation_micro_at_half": [round(epoch["val_micro_f1"], 3) for epoch in history],
        "validation_map": [round(epoch["val_map"], 3) for epoch in history],
    }


def measure_baseline(folder: Path, *, backbone: Path) -> dict[str, Any]:
    """TF-IDF at its defaults on the same documents and labels; one row."""
    beside = recipe_of(arms()[0], backbone=backbone)
    recipe = TfidfRecipe(text=beside.text, split=beside.split, labels=beside.labels)
    return {"arm": "TF-IDF, as beside any encoder", "seed": recipe.seed} | _trained(
        recipe, folder, name="TF-IDF"
    )[0]


def _trained(
    recipe: EncoderRecipe | TfidfRecipe, folder: Path, *, name: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What every model's row says, and the bundle's metrics."""
    data = split_corpus(CORPUS, folder, recipe)
    started = time.process_time()
    output = folder / f"bundle {name}"
    facts = train_bundle(recipe, data, output=output, name=name, device=Device(kind="cpu"), hooks=Hooks())
    bundle = open_bundle(output)
    parts, metrics = read_scores(bundle.path), read_metrics(bundle)
    row = {
        "labels": len(data.labels),
        **_figures(parts[("main", "tuning")], parts[("main", "test")], data.labels),
        "test_map": round(metrics["test"]["ranking"]["map"], 3),
        "detectors": sorted(set(facts["detections"])),
        "cpu_seconds": round(time.process_time() - started),
    }
    return row, metrics


def _figures(tuning: ScoredPart, test: ScoredPart, labels: tuple[str, ...]) -> dict[str, Any]:
    """Micro-F1/macro-F1 on test at each cut; labels predicted at 0.5 for one of the truth."""
    found: dict[str, Any] = {}
    for name, method in CUTS.items():
        thresholds = tune_thresholds(
            tuning.truth,
            tuning.scores,
            labels=labels,
            method=method,
            score_space="any",
            tuned_on="validation",
        )
        own = summary(test.truth, thresholds.decide(test.scores))
        found[f"test_at_{name}"] = f"{own['micro_f1']:.3f}/{own['macro_f1']:.3f}"
    at_half = float((test.scores >= 0.5).sum()) / float(test.truth.sum())
    return {**found, "predicted_of_true_at_0.5": round(at_half, 2)}


def run(backbone: Path, work: Path, *, minutes: float) -> list[dict[str, Any]]:
    """Train what `work` has no row of yet, starting nothing after `minutes`; every row there is."""
    work.mkdir(parents=True, exist_ok=True)
    rows = {row["key"]: row for row in _rows_of(work / "rows.jsonl")}
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        subset(folder)
        short = short_backbone(backbone, folder / "backbone", layers=LAYERS)
        todo = {arm.key: partial(measure, arm) for arm in arms()} | {BASELINE: measure_baseline}
        for key, train in todo.items():
            if key in rows or time.monotonic() - started > minutes * 60:
                continue
            rows[key] = {"key": key, **train(folder, backbone=short)}
            with (work / "rows.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(rows[key]) + "\n")
            print(json.dumps(rows[key]), flush=True)
    return [_shown(rows[key]) for key in todo if key in rows]


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A kept row as the table shows it: lists as words, without detectors that a miniature always fires."""
    shown = {name: ", ".join(map(str, v)) if isinstance(v, list) else v for name, v in row.items()}
    return shown | {"detectors": ", ".join(one for one in row["detectors"] if one not in ALWAYS), "key": ""}


def _rows_of(file: Path) -> Iterator[dict[str, Any]]:
    if file.exists():
        yield from map(json.loads, file.read_text(encoding="utf-8").splitlines())


def main(arguments: Sequence[str]) -> None:
    """Run the story and record it; run again, it goes on with the arms that are missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", type=Path, help="a pretrained Longformer, such as a converted MiniLM")
    parser.add_argument("--work", type=Path, default=Path("build/recipe_story"), help="where rows are kept")
    parser.add_argument("--minutes", type=float, default=240.0, help="start no further arm after these")
    given = parser.parse_args(arguments)
    require_corpora()
    if given.backbone is None:
        raise SystemExit("This benchmark needs --backbone, made by `postq bundles convert` from a MiniLM.")
    rows = run(given.backbone, given.work, minutes=given.minutes)
    record(
        "recipe_story",
        rows,
        method=(
            "the preset legal-longformer on a random part of Reuters' official split, first layers of a "
            "pretrained Longformer, first tokens of each story; one change of the recipe an arm. "
            "micro-F1/macro-F1 on test; thresholds tuned on validation; figures of single trainings."
        ),
        parameters={
            "documents": SIZES,
            "layers": LAYERS,
            "max_tokens": MAX_TOKENS,
            "min_label_count": MIN_LABEL_COUNT,
            "arms_in_all": len(arms()),
        },
    )


if __name__ == "__main__":
    main(sys.argv[1:])
