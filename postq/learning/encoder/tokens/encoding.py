"""Texts to tokens, one failure at a time, and chunks of both in the compact form that crosses processes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from postq.learning.encoder.tokens.tokeniser import TextTokeniser, TokenIds, TokenisedText

Encoded = TokenisedText | str
"""Tokens, or the reason there are none."""
NOT_A_TEXTS_FAULT = (MemoryError, KeyboardInterrupt, SystemExit, GeneratorExit)
"""What else may be raised is: a panic in the tokenizer's Rust, for one, is no Exception."""


def encode_each(tokeniser: TextTokeniser, texts: Sequence[str]) -> list[Encoded]:
    """Tokens of every text, in order; one unreadable text does not spoil the others."""
    try:
        return [*tokeniser.encode(texts)]
    except NOT_A_TEXTS_FAULT:
        raise
    except BaseException:
        return [_encode_alone(tokeniser, text) for text in texts]


def _encode_alone(tokeniser: TextTokeniser, text: str) -> Encoded:
    try:
        return tokeniser.encode([text])[0]
    except NOT_A_TEXTS_FAULT:
        raise
    except BaseException as exc:
        return f"The text cannot be tokenised: {exc}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedChunk:
    """Neighbouring texts as a few arrays: thousands of small ones would cost more to send than to make."""

    ids: TokenIds
    """(tokens,) of all pieces of all texts, one after another."""
    piece_lengths: NDArray[np.int32]
    """(pieces,)."""
    facts: NDArray[np.int64]
    """(texts, 5): pieces, tokens_total, tokens_seen, estimated, readable; all zero for a failure."""
    failures: dict[int, str]
    """Reasons by position in the chunk."""
    cpu_seconds: float = 0.0
    """What the process that made it computed for it."""


def to_chunk(encoded: Sequence[Encoded]) -> EncodedChunk:
    """Put the pieces of a chunk side by side."""
    texts = [text for text in encoded if not isinstance(text, str)]
    pieces = [piece for text in texts for piece in text.pieces]
    return EncodedChunk(
        ids=np.concatenate(pieces) if pieces else np.zeros(0, np.int32),
        piece_lengths=np.array([len(piece) for piece in pieces], np.int32),
        facts=np.array([_facts(text) for text in encoded], np.int64).reshape(-1, 5),
        failures={index: text for index, text in enumerate(encoded) if isinstance(text, str)},
    )


def _facts(text: Encoded) -> tuple[int, int, int, bool, bool]:
    if isinstance(text, str):
        return 0, 0, 0, False, False
    return len(text.pieces), text.tokens_total, text.tokens_seen, text.estimated, text.readable


def from_chunk(chunk: EncodedChunk) -> list[Encoded]:
    """The same texts again; their pieces are views of one array."""
    pieces = iter(np.split(chunk.ids, np.cumsum(chunk.piece_lengths)[:-1]))
    found: list[Encoded] = []
    for index, (count, total, seen, estimated, readable) in enumerate(chunk.facts.tolist()):
        if index in chunk.failures:
            found.append(chunk.failures[index])
            continue
        found.append(
            TokenisedText(
                pieces=tuple(next(pieces) for _ in range(count)),
                tokens_total=total,
                tokens_seen=seen,
                estimated=bool(estimated),
                readable=bool(readable),
            )
        )
    return found
