"""Scoring documents with a bundle: the scorer of its kind, whose libraries are imported only then."""

from postq.contracts.device import Device
from postq.contracts.recipes import Precision
from postq.errors import ExtraMissing
from postq.learning.bundle.bundle import Bundle
from postq.learning.scorer import Scorer


def load_scorer(
    bundle: Bundle,
    device: Device,
    *,
    max_tokens_per_batch: int | None = None,
    batch_divisor: int = 1,
    precision: Precision | None = None,
) -> Scorer:
    """Load a verified bundle's model onto a device; an ensemble loads its members in the same way.

    `max_tokens_per_batch` bounds an encoder's batch (by default as `encoder.forward.inference.token_budget`
    says) and is divided by `batch_divisor` after a device ran out of memory. `precision` is an encoder's, by
    default its recipe's.

    Raises ExtraMissing when the libraries of the bundle's kind are not installed, and DeviceUnavailable for a
    precision that the device lacks.
    """

    def load(member: Bundle) -> Scorer:
        return load_scorer(
            member,
            device,
            max_tokens_per_batch=max_tokens_per_batch,
            batch_divisor=batch_divisor,
            precision=precision,
        )

    try:
        if bundle.kind == "tfidf":
            from postq.learning.tfidf.scorer import TfidfScorer

            return TfidfScorer(bundle)
        if bundle.kind == "ensemble":
            from postq.learning.ensemble.scorer import EnsembleScorer

            return EnsembleScorer(bundle, device, load=load)
        from postq.learning.encoder.scoring.scorer import EncoderScorer

        return EncoderScorer(
            bundle,
            device,
            max_tokens_per_batch=max_tokens_per_batch,
            batch_divisor=batch_divisor,
            precision=precision,
        )
    except ImportError as exc:
        extra = "tfidf" if bundle.kind == "tfidf" else "encoders"
        raise ExtraMissing(
            f"A bundle of kind '{bundle.kind}' needs libraries that are not installed: {exc.name}.",
            hint=f"Install them with `pip install 'postq[{extra}]'`.",
        ) from exc
