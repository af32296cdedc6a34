"""Documents, training data and tokenizers that encoder tests are made of."""

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from postq.contracts.device import Device
from postq.contracts.document import Document
from postq.contracts.facets import Facets
from postq.learning.data import SplitEntry, TrainingData

FILLER = ("court", "appeal", "motion", "denied", "party", "held", "law", "judge", "order", "of", "the")
LABELS = ("On Appeal", "Motion to Dismiss", "Sentencing")
TOPICS = {label: [f"{label.split()[-1].lower()}{letter}" for letter in "abcde"] for label in LABELS}
CPU = Device(kind="cpu")
FACETS = Facets.model_validate(
    {
        "labels": [
            {"label": "On Appeal", "facets": ["stage"], "group": "review"},
            {"label": "Motion to Dismiss", "facets": ["motion"]},
            {"label": "Sentencing", "facets": ["motion", "proceeding"], "group": "review"},
            {"label": "Unheard of", "facets": ["rumour"], "parents": ["Motion to Dismiss"]},
        ]
    }
)
FACET_TARGETS = ("facet: motion", "group: review")
"""Of FACETS, those that tell more than a single label does."""


def opinion(row: int, *, words: int, labels: Sequence[str], seed: int = 0) -> Document:
    """A document whose labels can be told from its words."""
    draw = random.Random(f"{seed}-{row}")
    text = [draw.choice(FILLER) for _ in range(words)]
    for label in labels:
        for _ in range(8):
            text.insert(draw.randrange(len(text) + 1), draw.choice(TOPICS[label]))
    return document(row, " ".join(text), labels=labels)


def document(row: int, text: str, *, labels: Sequence[str] = ()) -> Document:
    """A document with the given text."""
    return Document(
        row=row,
        document_id=f"doc-{row}",
        text=text,
        content_hash=hashlib.sha256(text.encode("utf-8", "replace")).digest()[:16],
        word_count=len(text.split()),
        labels=tuple(labels),
    )


def opinions(count: int, *, start: int = 0, shortest: int = 10, longest: int = 60) -> list[Document]:
    """Documents of differing lengths with one or two labels each."""
    draw = random.Random(start)
    return [
        opinion(
            row,
            words=draw.randint(shortest, longest),
            labels=sorted(draw.sample(LABELS, draw.choice([1, 1, 2]))),
        )
        for row in range(start, start + count)
    ]


def training_data(train: Sequence[Document], validation: Sequence[Document]) -> TrainingData:
    """Training data with a clean manifest and no test split."""
    manifest = [
        SplitEntry(
            document_id=each.document_id, content_hash=each.content_hash, cluster=each.row, split=split
        )
        for split, documents in (("train", train), ("validation", validation))
        for each in documents
    ]
    return TrainingData(
        train=train, validation=validation, test=(), labels=LABELS, manifest=manifest, corpus="opinions 1"
    )


def save_wordpiece(folder: Path, words: Sequence[str], *, max_tokens: int) -> None:
    """Write a WordPiece tokenizer that knows `words`."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: index for index, word in enumerate([*specials, *words])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    roles = dict(
        zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), specials, strict=True)
    )
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=max_tokens, **roles).save_pretrained(
        folder
    )
