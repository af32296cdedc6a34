"""Texts to token ids: the long-text strategies, special tokens, and how much of each text is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from postq.contracts.recipes import LongText

TokenIds = NDArray[np.int32]

EXACT_CHARACTERS_PER_TOKEN = 32
"""Texts up to this many characters per readable token are tokenised whole; of longer ones only the part that
can be read is, and their total is extrapolated. English text has 4 to 5 characters per token, so this
concerns documents more than six times as long as what the model reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenisedText:
    """What the model reads of one text."""

    pieces: tuple[TokenIds, ...]
    """Sequences with special tokens; one, unless the text is read in chunks."""
    tokens_total: int
    """Tokens of the whole text, special tokens not counted."""
    tokens_seen: int
    """Tokens the model reads."""
    estimated: bool
    """True when `tokens_total` is extrapolated from the characters that were tokenised."""
    readable: bool
    """False when there is no token, or the tokenizer knows none of them."""

    @property
    def length(self) -> int:
        """Tokens with special tokens, over all pieces: what the text costs to run."""
        return sum(len(piece) for piece in self.pieces)


class TextTokeniser:
    """A Hugging Face tokenizer with a budget of tokens and a strategy for what exceeds it.

    `max_tokens` counts special tokens and is the most the model reads of one text. `piece_tokens` is the
    longest single sequence the model takes; it matters to the chunk strategies, which cut the first
    `max_tokens` into pieces of even length.
    """

    def __init__(
        self, tokenizer: Any, *, max_tokens: int, piece_tokens: int, long_text: LongText = "truncate"
    ) -> None:
        self.long_text = long_text
        self.max_tokens = max_tokens
        self.piece_tokens = min(piece_tokens, max_tokens)
        self._tokenizer = tokenizer
        self._unknown = tokenizer.unk_token_id
        self._prefix, self._suffix = special_tokens(tokenizer)
        self._backend = _plain_backend(tokenizer)

    def __getstate__(self) -> dict[str, Any]:
        """For another process: without the tokenizer where its backend is enough, since that brings its
        libraries along, which take a second to load.
        """
        return {**self.__dict__, "_tokenizer": None if self._backend is not None else self._tokenizer}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._backend is not None:
            _make_plain(self._backend)  # not all of it is kept

    @property
    def _specials(self) -> int:
        return len(self._prefix) + len(self._suffix)

    @property
    def content_tokens(self) -> int:
        """The most tokens read of one text, special tokens not counted."""
        if not self.long_text.startswith("chunk"):
            return self.max_tokens - self._specials
        pieces = -(-self.max_tokens // self.piece_tokens)
        return self.max_tokens - pieces * self._specials

    def encode(self, texts: Sequence[str]) -> list[TokenisedText]:
        """Tokenise a batch of texts, in parallel where the tokenizer can."""
        limit = EXACT_CHARACTERS_PER_TOKEN * self.max_tokens
        excerpts = [_excerpts(text, limit=limit, long_text=self.long_text) for text in texts]
        ids = iter(self._ids([part for parts in excerpts for part in parts]))
        return [
            self._assemble(text, [next(ids) for _ in parts], read=sum(map(len, parts)))
            for text, parts in zip(texts, excerpts, strict=True)
        ]

    def _assemble(self, text: str, parts: list[TokenIds], *, read: int) -> TokenisedText:
        available = sum(map(len, parts))
        if read < len(text) and min(map(len, parts)) < self.content_tokens:
            # Few tokens for so many characters (blanks, endless words): only the whole text will tell.
            parts, read = self._ids([text]), len(text)
            available = len(parts[0])
        kept = self._keep(parts)
        known = kept if self._unknown is None else kept[kept != self._unknown]
        return TokenisedText(
            pieces=self._pieces(kept),
            tokens_total=available if read >= len(text) else round(available * len(text) / read),
            tokens_seen=len(kept),
            estimated=read < len(text),
            readable=len(known) > 0,
        )

    def _keep(self, parts: list[TokenIds]) -> TokenIds:
        budget = self.content_tokens
        if self.long_text == "head_tail" and sum(map(len, parts)) > budget:
            tail = budget // 2
            return np.concatenate([parts[0][: budget - tail], parts[-1][len(parts[-1]) - tail :]])
        return parts[0][:budget]

    def _pieces(self, kept: TokenIds) -> tuple[TokenIds, ...]:
        room = self.piece_tokens - self._specials
        count = max(1, -(-len(kept) // room))
        chunks = np.array_split(kept, count)
        return tuple(np.concatenate([self._prefix, chunk, self._suffix]).astype(np.int32) for chunk in chunks)

    def _ids(self, texts: list[str]) -> list[TokenIds]:
        if self._backend is not None:
            encoded = self._backend.encode_batch_fast(texts, add_special_tokens=False)
            return [np.asarray(one.ids, dtype=np.int32) for one in encoded]
        lists = self._tokenizer(texts, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
        return [np.asarray(one, dtype=np.int32) for one in lists]


def special_tokens(tokenizer: Any) -> tuple[TokenIds, TokenIds]:
    """The ids a tokenizer puts before and after a single text, found by asking it with a plain word."""
    bare = list(tokenizer("court", add_special_tokens=False)["input_ids"])
    dressed = list(tokenizer("court", add_special_tokens=True)["input_ids"])
    for start in range(len(dressed) - len(bare) + 1):
        if dressed[start : start + len(bare)] == bare:
            end = start + len(bare)
            return np.asarray(dressed[:start], np.int32), np.asarray(dressed[end:], np.int32)
    return np.asarray([], np.int32), np.asarray([], np.int32)


def _plain_backend(tokenizer: Any) -> Any | None:
    """The Rust tokenizer, without truncation or padding, that reads `</s>` in a text as mere characters."""
    if not getattr(tokenizer, "is_fast", False):
        return None
    return _make_plain(tokenizer.backend_tokenizer)


def _make_plain(backend: Any) -> Any:
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = True
    return backend


def _excerpts(text: str, *, limit: int, long_text: LongText) -> tuple[str, ...]:
    if len(text) <= limit:
        return (text,)
    if long_text == "head_tail":
        return text[: limit // 2], text[len(text) - limit // 2 :]
    return (text[:limit],)
