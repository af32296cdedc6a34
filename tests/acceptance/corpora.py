"""Small corpora for the acceptance tests: a few labelled documents, or a slice of a real corpus."""

import gzip
import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

SUBJECTS = {
    "wheat": "harvest grain tonnes export farmers wheat crop silo bushels mill",
    "crude": "barrel oil crude refinery drilling petroleum pipeline output opec well",
    "money": "bank rate dollar currency central intervention exchange market yen bills",
}


def write_corpus(path: Path, *, documents: int = 60, labels: Sequence[str] | None = None) -> Path:
    """Documents that speak of one subject each and carry its label; without `labels`, the subjects' names."""
    names = list(SUBJECTS) if labels is None else list(labels)
    lines = [_document(number, names) for number in range(documents)]
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path


def _document(number: int, names: Sequence[str]) -> dict[str, object]:
    words = list(SUBJECTS.values())[number % len(SUBJECTS)].split()
    turned = words[number % len(words) :] + words[: number % len(words)]
    text = " ".join(turned * (2 + number % 3)) + f" report {number}"
    labels = [names[number % len(SUBJECTS)]] if names else []
    return {
        "documentId": f"d{number}",
        "postures": labels,
        "sections": [{"headtext": "", "paragraphs": [text]}],
    }


def write_slice(source: Path, target: Path, *, documents: int) -> Path:
    """The first `documents` lines of a gzipped corpus, gzipped again."""
    with gzip.open(source, "rt", encoding="utf-8") as full, gzip.open(target, "wt", encoding="utf-8") as part:
        part.writelines(islice(full, documents))
    return target
