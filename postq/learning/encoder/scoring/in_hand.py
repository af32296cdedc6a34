"""Documents between tokeniser and score: windows of tokens, and what is kept until the model is done."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from postq.contracts.scoring import DocumentFailure
from postq.learning.encoder.tokens.tokeniser import TokenisedText

OnFailure = Callable[[DocumentFailure], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Neighbouring documents as tokens, and those that gave none."""

    rows: list[int]
    texts: list[TokenisedText]
    failures: list[DocumentFailure]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What is kept of a document while its tokens are with the model."""

    row: int
    tokens: int
    tokens_total: int
    tokens_seen: int


class InHand:
    """Documents whose tokens were drawn and whose scores are still to come, numbered as they were drawn."""

    def __init__(self, on_failure: OnFailure) -> None:
        self._on_failure = on_failure
        self._drawn = 0
        self._known: dict[int, Scored] = {}

    def texts_of(self, windows: Iterable[Window]) -> Iterator[list[TokenisedText]]:
        """The tokens of each window, whose failures are told as it is drawn."""
        for window in windows:
            for failure in window.failures:
                self._on_failure(failure)
            for row, text in zip(window.rows, window.texts, strict=True):
                self._known[self._drawn] = Scored(
                    row=row,
                    tokens=text.length,
                    tokens_total=text.tokens_total,
                    tokens_seen=text.tokens_seen,
                )
                self._drawn += 1
            yield window.texts

    def take(self, indices: Iterable[int]) -> list[Scored]:
        """Those with these numbers, which are done."""
        return [self._known.pop(index) for index in indices]
