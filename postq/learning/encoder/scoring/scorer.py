"""Bulk scoring with an encoder bundle: tokens made ahead of the device, batches by token budget."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
import structlog

from postq.contracts.device import Device
from postq.contracts.document import Document
from postq.contracts.recipes import EncoderRecipe, Precision
from postq.contracts.scoring import DocumentFailure, ScoreBatch
from postq.counted import counted
from postq.errors import TokeniserLost
from postq.learning.bundle.bundle import Bundle
from postq.learning.encoder.backbones.loading import load_classifier
from postq.learning.encoder.forward.calling import scoring_form
from postq.learning.encoder.forward.compute import (
    check_precision,
    placed,
    possible_precision,
    precision_name,
    torch_device,
)
from postq.learning.encoder.forward.inference import Logits, document_logits, token_budget
from postq.learning.encoder.scoring.clocks import ScoringClocks
from postq.learning.encoder.scoring.in_hand import InHand, OnFailure, Scored, Window
from postq.learning.encoder.scoring.prefetch import Prefetched
from postq.learning.encoder.scoring.space import read_settings
from postq.learning.encoder.tokens.encoding import Encoded, encode_each
from postq.learning.encoder.tokens.pool import TokeniserPool, wanted_processes
from postq.learning.encoder.tokens.tokeniser import TextTokeniser, TokenisedText
from postq.learning.hooks import StopRequested, never_stop

WINDOW_DOCUMENTS = 512
WINDOW_CHARACTERS = 8_000_000
"""Documents are sorted by length within windows of this size: enough for full batches, bounded memory."""
FIRST_WINDOW_DOCUMENTS = 32
"""The first window of a shard, which the device has to wait for; each further one is twice as large."""
AHEAD = 2
"""Tokenised windows waiting for the device."""
POOL_DOCUMENTS = 64
"""A window of so many starts the processes that tokenise; until they are there, this one does."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Feed:
    """Documents that become tokens ahead of the device."""

    documents: Iterable[Document]
    clocks: ScoringClocks
    windows: Prefetched[Window]


class EncoderScorer:
    """A loaded encoder bundle; satisfies `Scorer` and `ReadsAhead` of `learning.scorer`."""

    def __init__(
        self,
        bundle: Bundle,
        device: Device,
        *,
        max_tokens_per_batch: int | None,
        batch_divisor: int = 1,
        precision: Precision | None = None,
    ) -> None:
        """`precision` is by default what the bundle's recipe says, if the device has it. Raises
        DeviceUnavailable for another that it lacks, and DeviceOccupied when the model does not fit.
        """
        target = torch_device(device)
        if precision is not None:
            check_precision(target, precision)
        self._precision = precision or possible_precision(target, _own_precision(bundle))
        self._device = target
        self._settings = read_settings(bundle.path)
        backbone = load_classifier(bundle.path, labels=bundle.labels, head=self._settings.head)
        self._labels = bundle.labels
        self._runs = scoring_form(placed(backbone.model, target))
        self._budget = token_budget(self._runs, device, asked=max_tokens_per_batch, divisor=batch_divisor)
        self._processes = wanted_processes(device)
        self._pool: TokeniserPool | None = None
        self._begun: _Feed | None = None
        self._tokenising = threading.Lock()
        """The feed of one call of `score` may still be at it when the next has begun."""
        self._tokeniser = TextTokeniser(
            backbone.tokenizer,
            max_tokens=self._settings.max_tokens,
            piece_tokens=self._settings.piece_tokens,
            long_text=self._settings.long_text,
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Column order of the scores."""
        return self._labels

    def close(self) -> None:
        """End the tokenising processes; the scorer stays usable and starts new ones when needed."""
        self.leave_off()
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def begin(self, documents: Iterable[Document]) -> None:
        """Read and tokenise the first of these; `score` given the very same object goes on from there.

        Nothing is begun without processes that tokenise: a model on a CPU, which needs all cores, would lose
        more than is gained.
        """
        self.leave_off()
        if self._processes:
            self._begun = self._feed(documents)

    def leave_off(self) -> None:
        """The scores of what `begin` was given are not wanted."""
        begun, self._begun = self._begun, None
        if begun is not None:
            begun.windows.close()

    def score(
        self,
        documents: Iterable[Document],
        *,
        on_failure: OnFailure,
        should_stop: Callable[[], bool] = never_stop,
    ) -> Iterator[ScoreBatch]:
        """One ScoreBatch per forward pass, with the documents it completed.

        Documents without a token the model knows, that cannot be tokenised, or whose score is not a number
        go to `on_failure`. Raises StopRequested between batches, TokeniserLost when a tokenising process
        died, and torch.OutOfMemoryError only when a single sequence does not fit.
        """

        def look_up() -> None:
            if should_stop():
                raise StopRequested

        feed = self._taken(documents)
        clocks, in_hand = feed.clocks, InHand(on_failure)
        with closing(feed.windows) as windows:
            batches = document_logits(
                self._runs,
                in_hand.texts_of(clocks.waited_for(windows)),
                budget=self._budget,
                pooling=self._settings.pooling,
                precision=self._precision,
                before_batch=look_up,
                around_call=clocks.called,
            )
            for indices, logits in clocks.computed(batches):
                scored = in_hand.take(indices)
                clocks.count(each.tokens for each in scored)
                yield from self._batch(scored, logits, on_failure=on_failure)
        name = precision_name(self._device, self._precision)
        _log.info("The documents were scored.", precision=name, **clocks.facts())

    def _feed(self, documents: Iterable[Document]) -> _Feed:
        clocks = ScoringClocks()
        windows = Prefetched(_windows(documents), partial(self._tokenise, clocks), ahead=AHEAD)
        return _Feed(documents=documents, clocks=clocks, windows=windows)

    def _taken(self, documents: Iterable[Document]) -> _Feed:
        """What was begun with these documents, or a feed that begins now."""
        begun = self._begun
        if begun is None or begun.documents is not documents:
            self.leave_off()
            return self._feed(documents)
        self._begun = None
        begun.clocks.start()
        return begun

    def _tokenise(self, clocks: ScoringClocks, documents: Sequence[Document]) -> Window:
        with self._tokenising, clocks.tokenising():
            encoded = self._encoded(documents)
            if self._pool is not None:
                clocks.tokenising_cpu += self._pool.take_cpu_seconds()
        rows, texts, failures = [], [], []
        for document, text in zip(documents, encoded, strict=True):
            if isinstance(text, str):
                failures.append(DocumentFailure(row=document.row, error=text))
            elif not text.readable:
                failures.append(DocumentFailure(row=document.row, error=_unreadable(text)))
            else:
                rows.append(document.row)
                texts.append(text)
        return Window(rows=rows, texts=texts, failures=failures)

    def _encoded(self, documents: Sequence[Document]) -> list[Encoded]:
        texts = [document.text for document in documents]
        pool = self._ready_pool(len(texts))
        if pool is None:
            return encode_each(self._tokeniser, texts)
        try:
            return pool.encode(texts)
        except TokeniserLost:
            self._pool = None
            raise

    def _ready_pool(self, documents: int) -> TokeniserPool | None:
        """The processes that tokenise, once they are there; so many documents are worth starting them."""
        if self._pool is None and self._processes and documents >= POOL_DOCUMENTS:
            try:
                self._pool = TokeniserPool(self._tokeniser, processes=self._processes)
            except OSError as exc:
                self._do_without_pool(str(exc))
        if self._pool is None or not self._pool.ready():
            return None
        if self._pool.why_not is not None:
            self._do_without_pool(self._pool.why_not)
        return self._pool

    def _do_without_pool(self, reason: str) -> None:
        _log.warning("No processes can tokenise ahead; this one does.", reason=reason)
        self._processes = 0
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def _batch(
        self, scored: Sequence[Scored], logits: Logits, *, on_failure: OnFailure
    ) -> Iterator[ScoreBatch]:
        finite = np.asarray(np.isfinite(logits).all(axis=1))
        for position in np.flatnonzero(~finite).tolist():
            error = "The model's score is not a number."
            on_failure(DocumentFailure(row=scored[position].row, error=error))
        kept = [scored[position] for position in np.flatnonzero(finite).tolist()]
        if kept:
            yield ScoreBatch(
                rows=np.array([each.row for each in kept], dtype=np.int64),
                scores=self._settings.probabilities(logits[finite]),
                tokens_total=np.array([each.tokens_total for each in kept], dtype=np.int32),
                tokens_seen=np.array([each.tokens_seen for each in kept], dtype=np.int32),
            )


def _own_precision(bundle: Bundle) -> Precision:
    recipe = bundle.recipe
    return recipe.precision if isinstance(recipe, EncoderRecipe) else "auto"


def _unreadable(text: TokenisedText) -> str:
    if text.tokens_total == 0:
        return "The text has no tokens."
    return f"The tokenizer knows none of the text's {counted(text.tokens_total, 'token')}."


def _windows(documents: Iterable[Document]) -> Iterator[list[Document]]:
    window: list[Document] = []
    characters, wanted = 0, min(FIRST_WINDOW_DOCUMENTS, WINDOW_DOCUMENTS)
    for document in documents:
        window.append(document)
        characters += len(document.text)
        if len(window) >= wanted or characters >= WINDOW_CHARACTERS:
            yield window
            window, characters, wanted = [], 0, min(WINDOW_DOCUMENTS, 2 * wanted)
    if window:
        yield window
