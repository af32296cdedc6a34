"""Bulk scoring with an ensemble: a window of documents at a time goes to the members."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from postq.contracts.device import Device
from postq.contracts.document import Document
from postq.contracts.scoring import DocumentFailure, ScoreBatch
from postq.errors import BundleUnusable
from postq.learning.bundle.bundle import Bundle
from postq.learning.bundle.manifest import MEMBERS
from postq.learning.bundle.opening import read_manifest
from postq.learning.ensemble.asking import Failures, asking_of
from postq.learning.ensemble.combining import Combination, read_combination
from postq.learning.ensemble.members import open_members
from postq.learning.hooks import never_stop
from postq.learning.scorer import Scorer

WINDOW_DOCUMENTS = 2048
WINDOW_CHARACTERS = 32_000_000
"""Documents held while all members score them."""
WITH_ENCODER, WITH_ENCODER_ON_CPU = 512, 16
"""The same with an encoder among them: progress is told once a window, and workers wait so long for it."""


class EnsembleScorer:
    """A loaded ensemble; satisfies `learning.scorer.Scorer`."""

    def __init__(self, bundle: Bundle, device: Device, *, load: Callable[[Bundle], Scorer]) -> None:
        """`load` loads a member onto the device."""
        members = open_members(bundle)
        combination = _combination(bundle, members=len(members))
        scorers = [load(member) for member in members]
        self._labels = bundle.labels
        self._window = window_documents(bundle, device)
        cuts = [member.thresholds.values for member in members]
        self._asking = asking_of(combination, scorers, thresholds=cuts)

    @property
    def labels(self) -> tuple[str, ...]:
        """Column order of the scores."""
        return self._labels

    def score(
        self,
        documents: Iterable[Document],
        *,
        on_failure: Callable[[DocumentFailure], None],
        should_stop: Callable[[], bool] = never_stop,
    ) -> Iterator[ScoreBatch]:
        """One batch per window. A document that a member cannot score goes to `on_failure`, once."""
        for window in windows(documents, most=self._window):
            failures: Failures = {}
            batch = self._asking.answer(window, failures=failures, should_stop=should_stop)
            for failure in failures.values():
                on_failure(failure)
            if len(batch.rows):
                yield batch


def _combination(bundle: Bundle, *, members: int) -> Combination:
    found = read_combination(bundle.path, labels=len(bundle.labels), members=members)
    if bundle.score_space != f"ensemble-{found.method}":
        raise BundleUnusable(
            f"The ensemble at {bundle.path} combines by {found.method}, not as {bundle.score_space}.",
            hint="Make the ensemble again with: postq bundles ensemble.",
        )
    return found


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
