"""Writing a synthetic corpus file: sound opinions, a few duplicates, a few broken records, one line each."""

import gzip
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import log
from pathlib import Path
from random import Random
from typing import IO, Any, Literal
from uuid import uuid4

from postq.corpus.synthetic.label_plan import plan_labels
from postq.corpus.synthetic.ontology import Ontology, load_ontology
from postq.corpus.synthetic.opinion import OpinionWriter
from postq.corpus.synthetic.phrases import load_phrases
from postq.errors import BadInput, StorageUnavailable

MIN_WORDS = 150
DUPLICATE_SHARE = 0.005
BROKEN_SHARE = 0.0025
MIN_DOCUMENTS_FOR_FLAWS = 20
PROGRESS_LINES = 50

Kind = Literal[
    "sound", "duplicate", "near_duplicate", "bad_json", "invalid_utf8", "too_short", "empty", "repeated_id"
]
BROKEN: tuple[Kind, ...] = ("bad_json", "invalid_utf8", "too_short", "empty", "repeated_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticFacts:
    """What was written."""

    lines: int
    documents: int
    """Lines that are sound documents: all that were asked for."""
    duplicates: int
    """Sound documents whose text an earlier one has."""
    near_duplicates: int
    """Sound documents that differ from an earlier one in a few words."""
    broken: int
    """Lines to be set aside, over and above `documents`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shape:
    """How long opinions are: a log-normal distribution, cut at both ends."""

    median_words: int
    sigma: float
    max_words: int

    def draw(self, labels: frozenset[str], rng: Random) -> int:
        """A length in words; opinions without a label are twice as long."""
        words = rng.lognormvariate(log(self.median_words), self.sigma) * (1 if labels else 2)
        return int(min(max(words, MIN_WORDS), self.max_words))


def write_synthetic_corpus(
    path: Path,
    *,
    documents: int = 600,
    seed: int = 42,
    median_words: int = 2500,
    sigma: float = 0.65,
    max_words: int = 60_000,
    flaws: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> SyntheticFacts:
    """Write `documents` opinions in the source form to `path` (.jsonl or .jsonl.gz); same seed, same bytes.

    `sigma` is the spread of the logarithm of the length: at 0.65 a third of the opinions is longer than 1.3
    medians, one in a hundred longer than 4.5. `flaws` adds duplicates (among the documents) and broken
    records (besides them), for 20 documents or more. `progress` gets (lines written, lines in all). The file
    appears whole or not at all. Raises BadInput for a size below 1, StorageUnavailable when it cannot be
    written.
    """
    if documents < 1 or median_words < 1 or sigma < 0:
        raise BadInput("A corpus needs documents and words.", hint="Give numbers of at least 1.")
    shape = _Shape(median_words=median_words, sigma=sigma, max_words=max_words)
    corpus = _Corpus(load_ontology(), documents=documents, seed=seed, shape=shape, flaws=flaws)
    with _appearing_whole(path) as file:
        for number, line in enumerate(corpus.lines(), start=1):
            file.write(line + b"\n")
            if progress and (number % PROGRESS_LINES == 0 or number == len(corpus.plan)):
                progress(number, len(corpus.plan))
    return corpus.facts()


class _Corpus:
    """The plan of a corpus, and its lines one by one."""

    def __init__(self, ontology: Ontology, *, documents: int, seed: int, shape: _Shape, flaws: bool) -> None:
        self._seed = seed
        self._shape = shape
        self._writer = OpinionWriter(ontology, load_phrases())
        self._rng = _random(seed, "plan")
        flawed = flaws and documents >= MIN_DOCUMENTS_FOR_FLAWS
        self._copies = max(1, round(documents * DUPLICATE_SHARE)) if flawed else 0
        self._faults = max(1, round(documents * BROKEN_SHARE)) if flawed else 0
        distinct = documents - 2 * self._copies
        self._labels = plan_labels(ontology, documents=distinct, rng=self._rng)
        self.plan: list[tuple[Kind, int]] = [("sound", index) for index in range(distinct)]
        self._add_flaws()

    def facts(self) -> SyntheticFacts:
        broken = self._faults * len(BROKEN)
        return SyntheticFacts(
            lines=len(self.plan),
            documents=len(self.plan) - broken,
            duplicates=self._copies,
            near_duplicates=self._copies,
            broken=broken,
        )

    def lines(self) -> Iterator[bytes]:
        for number, (kind, index) in enumerate(self.plan):
            yield self._line(kind, index, number)

    def _add_flaws(self) -> None:
        """Put copies and broken lines into the second half; what they copy lies in the first."""
        half = len(self.plan) // 2
        copies: tuple[Kind, ...] = ("duplicate", "near_duplicate")
        kinds = copies * self._copies + BROKEN * self._faults
        for kind in kinds:
            original = self._rng.randrange(half)
            self.plan.insert(self._rng.randrange(half, len(self.plan) + 1), (kind, original))

    def _line(self, kind: Kind, index: int, number: int) -> bytes:
        record = self._record(index)
        if kind in ("duplicate", "near_duplicate", "too_short", "empty"):
            record["documentId"] = _identifier(self._seed, f"{kind}:{number}")
        if kind == "near_duplicate":
            _amend(record, _random(self._seed, f"amend:{number}"))
        elif kind == "too_short":
            record["sections"] = [{"headtext": "ORDER", "paragraphs": ["Affirmed without opinion."]}]
        elif kind == "empty":
            record["sections"] = []
        elif kind == "repeated_id":
            record["sections"][-1]["paragraphs"].append("Rehearing denied.")
        line = json.dumps(record, ensure_ascii=False).encode()
        if kind == "bad_json":
            return line[: len(line) * 2 // 3]
        if kind == "invalid_utf8":
            return line.replace(b" the ", b" th\xe9 ", 1)
        return line

    def _record(self, index: int) -> dict[str, Any]:
        """The opinion with this index; its words hang on the seed and the index alone."""
        rng = _random(self._seed, f"opinion:{index}")
        labels = self._labels[index]
        sections = self._writer.sections(labels, words=self._shape.draw(labels, rng), rng=rng)
        identifier = _identifier(self._seed, f"sound:{index}")
        return {"documentId": identifier, "postures": sorted(labels), "sections": sections}


def _random(seed: int, key: str) -> Random:
    return Random(f"{seed}:{key}")  # noqa: S311  (nothing here is secret; it must be repeatable)


def _identifier(seed: int, key: str) -> str:
    return "I" + hashlib.blake2b(f"{seed}:{key}".encode(), digest_size=16).hexdigest()


def _amend(record: dict[str, Any], rng: Random) -> None:
    """Change what an amended opinion changes: the docket line and a word here and there."""
    record["sections"][0]["paragraphs"][1] += " Amended on denial of rehearing."
    for section in record["sections"][1:]:
        for place, paragraph in enumerate(section["paragraphs"]):
            if rng.random() < 0.1:
                section["paragraphs"][place] = paragraph.replace(" the ", " this ", 1)


@contextmanager
def _appearing_whole(path: Path) -> Iterator[IO[bytes]]:
    unfinished = path.with_name(f".{path.name}.{uuid4().hex[:8]}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as raw:
            if path.suffix == ".gz":
                # Neither name nor time of writing go into the header, so that equal seeds give equal bytes.
                with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as packed:
                    yield packed  # type: ignore[misc]
            else:
                yield raw
        unfinished.replace(path)
    except OSError as exc:
        raise StorageUnavailable(
            f"The corpus cannot be written to {path}: {exc.strerror or exc}.",
            hint="Choose a folder with room that this user may write.",
        ) from exc
    finally:
        with suppress(OSError):  # in a folder one may not enter there is nothing to remove, and no right to
            unfinished.unlink()
