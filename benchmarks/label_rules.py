"""Rules between labels on real and synthetic corpora: what is mined, what is chosen, what it gains."""

import argparse
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._labelled_corpora import CORPORA, require_corpora, split_corpus
from benchmarks.recording import record
from postq.contracts.device import Device
from postq.contracts.facets import Facets
from postq.contracts.recipes import RuleChoice, TfidfRecipe, ThresholdMethod
from postq.corpus.location import Input
from postq.corpus.snapshot_writer import write_snapshot
from postq.corpus.source import read_source
from postq.corpus.synthetic.corpus import write_synthetic_corpus
from postq.corpus.synthetic.ontology import load_ontology
from postq.learning.bundle import Bundle, open_bundle
from postq.learning.bundle.score_file import read_scores
from postq.learning.hooks import Hooks
from postq.learning.rejudging import read_metrics
from postq.learning.rethresholding import rethreshold_bundle
from postq.learning.rules.choosing import measured_gain
from postq.learning.rules.mining import broader_columns
from postq.learning.thresholds.cross_fit import cross_fits
from postq.learning.thresholds.decision import apply_thresholds, with_implied
from postq.learning.training import train_bundle

SYNTHETIC = "synthetic"
DOCUMENTS, WORDS = 3000, 300
METHODS: tuple[ThresholdMethod, ...] = ("half", "global", "micro_macro")
RECIPE = TfidfRecipe(regularisation=(16.0,), folds=5)


def measure(name: str, folder: Path) -> list[dict[str, Any]]:
    """Train once, then judge every kind of rules on the stored out-of-fold scores; one row a kind."""
    if name == SYNTHETIC:
        write_synthetic(folder)
    data = split_corpus(name, folder, RECIPE)
    output = folder / f"bundle-{name}"
    train_bundle(RECIPE, data, output=output, name=name, device=Device(kind="cpu"), hooks=Hooks())
    bundle = open_bundle(output)
    choices: tuple[RuleChoice, ...] = ("implications",)
    if name == SYNTHETIC:
        choices = ("implications", "most_specific", "both")
    rows = [_row(name, bundle, choice, method, folder) for choice in choices for method in METHODS]
    return rows + ([_closure(name, bundle)] if name == SYNTHETIC else [])


def _closure(name: str, bundle: Bundle) -> dict[str, Any]:
    """What believing the hierarchy would do: every narrower label brings all broader ones, unasked."""
    part = read_scores(bundle.path)["main", "tuning"]
    pairs = broader_columns(synthetic_facets(), bundle.labels)
    plain, closed = np.zeros_like(part.truth), np.zeros_like(part.truth)
    for fit in cross_fits(part.truth, part.scores, method="micro_macro", seed=RECIPE.seed):
        reached = apply_thresholds(part.scores, fit.thresholds)[fit.held_out]
        plain[fit.held_out], closed[fit.held_out] = reached, with_implied(reached, pairs)
    gain = measured_gain(part.truth, plain, closed, seed=RECIPE.seed).model_dump()
    return {
        "corpus": name,
        "labels": len(bundle.labels),
        "rules": "closure, which is not offered",
        "thresholds": "micro_macro",
        "documents": len(part.truth),
        "candidates": len(pairs),
        "chosen": len(pairs),
        **{f"{each}_gain": _told(gain[f"{each}_f1"]) for each in ("micro", "macro", "mean")},
        "kept": "no",
    }


def synthetic_facets() -> Facets:
    """Of the synthetic corpus' labels; the real ones come without."""
    return Facets.model_validate(
        {
            "labels": [
                {
                    "label": each.name,
                    "facets": each.facets,
                    "group": each.group,
                    "parents": [each.parent] if each.parent else [],
                }
                for each in load_ontology().postures.values()
            ]
        }
    )


def _row(
    name: str, bundle: Bundle, choice: RuleChoice, method: ThresholdMethod, folder: Path
) -> dict[str, Any]:
    target = folder / f"{name}-{choice}-{method}"
    facets = synthetic_facets() if name == SYNTHETIC else None
    new = rethreshold_bundle(bundle, method=method, name=name, output=target, rules=choice, facets=facets)
    facts = read_metrics(new)["rules"]
    chosen = [each for each in facts["candidates"] if each["chosen"]]
    for each in facts["candidates"]:
        mark = "chosen" if each["chosen"] else "left"
        share = f"{each['together']}/{each['documents']}"
        print(f"{name} {choice} {method} {mark}: {each['given']} -> {each['other']} {share}", flush=True)
    return {
        "corpus": name,
        "labels": len(bundle.labels),
        "rules": choice,
        "thresholds": method,
        "documents": facts["documents"],
        "candidates": len(facts["candidates"]),
        "chosen": len(chosen),
        **{f"{each}_gain": _told(facts["gain"][f"{each}_f1"]) for each in ("micro", "macro", "mean")},
        "kept": "yes" if facts["kept"] else "no",
    }


def _told(change: dict[str, float]) -> str:
    return f"{change['value']:+.4f} ({change['low']:+.4f} to {change['high']:+.4f})"


def write_synthetic(folder: Path) -> None:
    """The snapshot of the synthetic corpus below `folder`."""
    file = folder / "synthetic.jsonl"
    write_synthetic_corpus(file, documents=DOCUMENTS, seed=42, median_words=WORDS)
    write_snapshot(
        read_source([Input(path=str(file))]),
        folder / SYNTHETIC,
        sources=[file.name],
        created=datetime.now(UTC),
    )


def main() -> None:
    """Measure the corpora named on the command line, or all."""
    every = [*CORPORA, SYNTHETIC]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", nargs="*", default=every, help=f"of {', '.join(every)}")
    names = parser.parse_args().corpora
    if set(names) & set(CORPORA):
        require_corpora()
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for name in names for row in measure(name, Path(folder))]
    record(
        "label_rules",
        rows,
        method=(
            "Cross-fitted F1 with rules minus without, on out-of-fold scores of training and validation "
            "documents, seed 42; 95 % intervals of 2,000 document bootstraps. "
            "Rules are mined, thresholds tuned and rules chosen without each fifth of the documents. "
            "Kept where the interval of the mean lies above 0 and the gain is 0.001 or more. Test splits are "
            "not looked at."
        ),
        parameters={
            "recipe": RECIPE.model_dump(mode="json"),
            "synthetic": {"documents": DOCUMENTS, "median_words": WORDS, "seed": 42},
        },
    )


if __name__ == "__main__":
    main()
