"""Scoring documents with a bundle: one protocol for TF-IDF, encoders and ensembles, loaded lazily."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from postq.contracts.device import Device
from postq.contracts.document import Document
from postq.contracts.scoring import DocumentFailure, ScoreBatch
from postq.errors import ExtraMissing
from postq.learning.bundle.bundle import Bundle
from postq.learning.hooks import never_stop


class Scorer(Protocol):
    """A loaded model. One instance serves many shards, one after the other."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Column order of the scores."""

    def score(
        self,
        documents: Iterable[Document],
        *,
        on_failure: Callable[[DocumentFailure], None],
        should_stop: Callable[[], bool] = never_stop,
    ) -> Iterator[ScoreBatch]:
        """Scores of every document that does not fail, each once, in any order of rows.

        A document that cannot be scored goes to `on_failure`; the rest go on. Raises
        hooks.StopRequested between batches once `should_stop` is true.
        """


def load_scorer(
    bundle: Bundle,
    device: Device,
    *,
    max_tokens_per_batch: int | None = None,
    batch_divisor: int = 1,
) -> Scorer:
    """Load a verified bundle's model onto a device.

    `max_tokens_per_batch` bounds an encoder's batch (by default as `encoder.inference.token_budget` says) and
    is divided by `batch_divisor` after a device ran out of memory.

    Raises ExtraMissing when the libraries of the bundle's kind are not installed.
    """
    try:
        if bundle.kind == "tfidf":
            from postq.learning.tfidf.scorer import TfidfScorer

            return TfidfScorer(bundle)
        if bundle.kind == "ensemble":
            from postq.learning.ensemble.scorer import EnsembleScorer

            return EnsembleScorer(
                bundle, device, max_tokens_per_batch=max_tokens_per_batch, batch_divisor=batch_divisor
            )
        from postq.learning.encoder.scoring.scorer import EncoderScorer

        return EncoderScorer(
            bundle, device, max_tokens_per_batch=max_tokens_per_batch, batch_divisor=batch_divisor
        )
    except ImportError as exc:
        extra = "tfidf" if bundle.kind == "tfidf" else "encoders"
        raise ExtraMissing(
            f"A bundle of kind '{bundle.kind}' needs libraries that are not installed: {exc.name}.",
            hint=f"Install them with `pip install 'postq[{extra}]'`.",
        ) from exc
