"""Small labelled corpora for the model-independent tests: every label has words of its own."""

import hashlib

import numpy as np

from postq.contracts.document import Document, SplitName
from postq.learning.data import SplitEntry, TrainingData
from postq.learning.labels import decide_labels

FILLER = [f"filler{number}" for number in range(200)]


def opinions(count: int, *, labels: int = 6, seed: int = 0, split: SplitName = "train") -> list[Document]:
    """Documents of 30 to 80 words; a label shows as some of its own words; some documents carry none."""
    random = np.random.default_rng(seed)
    return [_opinion(at, labels, random, split) for at in range(count)]


def _opinion(at: int, labels: int, random: np.random.Generator, split: SplitName) -> Document:
    chance = 0.6 / (1 + np.arange(labels))
    carried = tuple(f"label {each}" for each in np.flatnonzero(random.random(labels) < chance))
    words = list(random.choice(FILLER, int(random.integers(30, 80))))
    for label in carried:
        words += list(random.choice([f"{label.replace(' ', '')}word{n}" for n in range(6)], 4))
    random.shuffle(words)
    text = " ".join(words)
    return document(text, row=at, labels=carried, document_id=f"{split}-{at}", split=split)


def document(
    text: str,
    *,
    row: int = 0,
    labels: tuple[str, ...] = (),
    document_id: str | None = None,
    split: SplitName | None = None,
) -> Document:
    """One document with the hash and the word count of its text."""
    return Document(
        row=row,
        document_id=document_id or f"doc-{row}",
        text=text,
        content_hash=hashlib.sha256(text.encode()).digest()[:16],
        word_count=len(text.split()),
        labels=labels,
        split=split,
    )


def training_data(
    *, train: int = 240, validation: int = 60, test: int = 80, labels: int = 6, seed: int = 0
) -> TrainingData:
    """Three splits of `opinions`, each document in a cluster of its own."""
    sizes: dict[SplitName, int] = {"train": train, "validation": validation, "test": test}
    splits = {
        name: opinions(size, labels=labels, seed=seed + at, split=name)
        for at, (name, size) in enumerate(sizes.items())
    }
    entries = [
        SplitEntry(
            document_id=each.document_id,
            content_hash=each.content_hash,
            cluster=at,
            split=each.split or "train",
        )
        for at, each in enumerate(d for documents in splits.values() for d in documents)
    ]
    return TrainingData(
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        labels=decide_labels(splits["train"], min_label_count=2),
        manifest=entries,
        corpus="opinions@1",
    )
