"""Bulk scoring with an ensemble: every member scores the same documents in turn."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from postq.contracts.device import Device
from postq.contracts.document import Document
from postq.contracts.scoring import DocumentFailure, ScoreBatch
from postq.learning.bundle.bundle import Bundle
from postq.learning.bundle.opening import read_manifest
from postq.learning.ensemble.combining import MEMBERS, read_combination
from postq.learning.ensemble.members import open_members
from postq.learning.hooks import never_stop
from postq.learning.scoring import Scorer, load_scorer

WINDOW_DOCUMENTS = 2048
WINDOW_CHARACTERS = 32_000_000
"""Documents held while all members score them."""
WITH_ENCODER, WITH_ENCODER_ON_CPU = 512, 16
"""The same with an encoder among them: progress is told once a window, and workers wait so long for it."""

OnFailure = Callable[[DocumentFailure], None]


class EnsembleScorer:
    """A loaded ensemble; satisfies `learning.scoring.Scorer`."""

    def __init__(
        self, bundle: Bundle, device: Device, *, max_tokens_per_batch: int | None, batch_divisor: int = 1
    ) -> None:
        members = open_members(bundle)
        self._labels = bundle.labels
        self._combination = read_combination(bundle.path, labels=len(bundle.labels), members=len(members))
        self._window = window_documents(bundle, device)
        self._thresholds = [member.thresholds.values for member in members]
        self._scorers: list[Scorer] = [
            load_scorer(
                member, device, max_tokens_per_batch=max_tokens_per_batch, batch_divisor=batch_divisor
            )
            for member in members
        ]

    @property
    def labels(self) -> tuple[str, ...]:
        """Column order of the scores."""
        return self._labels

    def score(
        self,
        documents: Iterable[Document],
        *,
        on_failure: OnFailure,
        should_stop: Callable[[], bool] = never_stop,
    ) -> Iterator[ScoreBatch]:
        """One batch per window. A document that any member cannot score goes to `on_failure`, once."""
        for window in windows(documents, most=self._window):
            failures: dict[int, DocumentFailure] = {}
            found = [
                by_row(scorer, window, failures=failures, should_stop=should_stop) for scorer in self._scorers
            ]
            for failure in failures.values():
                on_failure(failure)
            rows = [document.row for document in window if document.row not in failures]
            if rows:
                yield self._batch(rows, [taken(batches, rows) for batches in found])

    def _batch(self, rows: list[int], parts: Sequence[ScoreBatch]) -> ScoreBatch:
        """The members' scores as one; tokens are those of the member that read the least of each document."""
        unread = np.array([part.tokens_total - part.tokens_seen for part in parts])
        least = unread.argmax(axis=0)
        each = np.arange(len(rows))
        return ScoreBatch(
            rows=np.array(rows, np.int64),
            scores=self._combination.combine([part.scores for part in parts], thresholds=self._thresholds),
            tokens_total=np.array([part.tokens_total for part in parts])[least, each],
            tokens_seen=np.array([part.tokens_seen for part in parts])[least, each],
        )


def by_row(
    scorer: Scorer,
    window: Sequence[Document],
    *,
    failures: dict[int, DocumentFailure],
    should_stop: Callable[[], bool],
) -> ScoreBatch:
    """All of one member's batches together, sorted by row; its failures are added to `failures`."""

    def remember(failure: DocumentFailure) -> None:
        failures.setdefault(failure.row, failure)

    batches = list(scorer.score(window, on_failure=remember, should_stop=should_stop))
    if not batches:
        return _nothing(len(scorer.labels))
    order = np.argsort(np.concatenate([batch.rows for batch in batches]))
    return _sorted(batches, order)


def _sorted(batches: Sequence[ScoreBatch], order: NDArray[np.intp]) -> ScoreBatch:
    return ScoreBatch(
        rows=np.concatenate([batch.rows for batch in batches])[order],
        scores=np.concatenate([batch.scores for batch in batches])[order],
        tokens_total=np.concatenate([batch.tokens_total for batch in batches])[order],
        tokens_seen=np.concatenate([batch.tokens_seen for batch in batches])[order],
    )


def _nothing(labels: int) -> ScoreBatch:
    none = np.zeros(0, np.int32)
    scores = np.zeros((0, labels), np.float32)
    return ScoreBatch(rows=np.zeros(0, np.int64), scores=scores, tokens_total=none, tokens_seen=none)


def taken(batch: ScoreBatch, rows: Sequence[int]) -> ScoreBatch:
    """The wanted rows, in their order."""
    at = np.searchsorted(batch.rows, rows)
    return _sorted([batch], at)


def window_documents(bundle: Bundle, device: Device) -> int:
    """Most documents that an ensemble's members score before it tells of any."""
    if not _has_encoder(bundle.path, len(getattr(bundle.recipe, "members", ()))):
        return WINDOW_DOCUMENTS
    return WITH_ENCODER_ON_CPU if device.kind == "cpu" else WITH_ENCODER


def _has_encoder(folder: Path, members: int) -> bool:
    """Whether a member is an encoder, or an ensemble that holds one."""
    for at in range(members):
        member = folder / MEMBERS / str(at)
        found = read_manifest(member)
        if found.kind == "encoder" or _has_encoder(member, len(found.recipe.get("members", ()))):
            return True
    return False


def windows(documents: Iterable[Document], *, most: int) -> Iterator[list[Document]]:
    """Documents in groups of at most so many, and at most WINDOW_CHARACTERS."""
    window: list[Document] = []
    characters = 0
    for document in documents:
        window.append(document)
        characters += len(document.text)
        if len(window) >= most or characters >= WINDOW_CHARACTERS:
            yield window
            window, characters = [], 0
    if window:
        yield window
