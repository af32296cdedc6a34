"""A loaded model as all who score with it know it: one protocol for TF-IDF, encoders and ensembles."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, runtime_checkable

from postq.contracts.document import Document
from postq.contracts.scoring import DocumentFailure, ScoreBatch
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


@runtime_checkable
class ReadsAhead(Protocol):
    """A scorer that can begin to read and tokenise documents while it still scores others."""

    def begin(self, documents: Iterable[Document]) -> None:
        """Begin with these, in a thread; `score` given the very same object goes on from there."""

    def leave_off(self) -> None:
        """Their scores are not wanted: end the thread."""
