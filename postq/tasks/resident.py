"""The model a runner keeps loaded between shards, so that each shard of a job does not load it again."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from postq.contracts.device import Device
from postq.contracts.runner import BundleOnDisk, RunRequest

if TYPE_CHECKING:
    from postq.contracts.document import Document
    from postq.contracts.recipes import Precision
    from postq.learning.bundle.bundle import Bundle
    from postq.learning.scorer import Scorer


def _nothing_upcoming() -> None:
    """The default: what comes next is not known."""


class Resident:
    """At most one verified bundle and its scorer; asking for another lets go of the first.

    `upcoming` tells the attempt that will follow, once, as soon as it is known.
    """

    def __init__(self, *, upcoming: Callable[[], RunRequest | None] = _nothing_upcoming) -> None:
        self._upcoming = upcoming
        self._begun: tuple[RunRequest, Iterator[Document]] | None = None
        self._bundle: Bundle | None = None
        self._scorer: Scorer | None = None
        self._scorer_key: tuple[str, int | None, int, str | None] | None = None
        self._signature: tuple[tuple[str, int, int, int], ...] = ()

    def bundle(self, wanted: BundleOnDisk) -> "Bundle":
        """The bundle, its files' digests checked since they last changed on disk.

        Raises DigestMismatch and BundleUnusable.
        """
        from postq.learning.bundle.opening import open_bundle

        signature = _signature(wanted.path)
        known = self._bundle is not None and self._bundle.digest == wanted.digest
        if self._bundle is None or not known or signature != self._signature:
            opened = open_bundle(wanted.path, expected_digest=wanted.digest)
            if not known:
                self.forget()
            self._bundle, self._signature = opened, signature
        return self._bundle

    def scorer(
        self,
        wanted: BundleOnDisk,
        device: Device,
        *,
        max_tokens_per_batch: int | None,
        batch_divisor: int,
        precision: "Precision | None" = None,
    ) -> tuple["Bundle", "Scorer"]:
        """The bundle and its loaded model; raises as `bundle` does, ExtraMissing and DeviceUnavailable."""
        from postq.learning.scoring import load_scorer

        bundle = self.bundle(wanted)
        key = (device.label, max_tokens_per_batch, batch_divisor, precision)
        if self._scorer is None or self._scorer_key != key:
            self._let_go()  # first, for the old one's memory
            self._scorer = load_scorer(
                bundle,
                device,
                max_tokens_per_batch=max_tokens_per_batch,
                batch_divisor=batch_divisor,
                precision=precision,
            )
            self._scorer_key = key
        return bundle, self._scorer

    def look_ahead(self) -> None:
        """Between two batches: have the scorer begin with what comes next, if that has the same bundle."""
        from postq.learning.scorer import ReadsAhead
        from postq.tasks.requested import requested_documents

        request = self._upcoming()
        if request is None or self._scorer is None or self._bundle is None or request.bundle is None:
            return
        if request.bundle.digest == self._bundle.digest and isinstance(self._scorer, ReadsAhead):
            documents = requested_documents(request, view=self._bundle.recipe.text)
            self._scorer.begin(documents)
            self._begun = request, documents

    def documents(self, request: RunRequest) -> "Iterator[Document]":
        """The documents of a request for `scorer`'s bundle, with which its scorer may have begun already."""
        from postq.tasks.requested import requested_documents

        begun, self._begun = self._begun, None
        if begun is not None and begun[0] == request:
            return begun[1]
        assert self._bundle is not None
        return requested_documents(request, view=self._bundle.recipe.text)

    def forget(self) -> None:
        """Let go of everything: after a failure the model's state, or the device's, is not to be trusted."""
        self._let_go()
        self._bundle = None
        self._signature = ()

    def _let_go(self) -> None:
        from postq.learning.scorer import ReadsAhead

        if isinstance(self._scorer, ReadsAhead):
            self._scorer.leave_off()
        self._begun = self._scorer = self._scorer_key = None


def _signature(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """What changes when any file of the folder is written or replaced; far cheaper than its digest."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    stats = [(path, path.stat()) for path in files]
    return tuple((str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino) for path, stat in stats)
