"""MinHash signatures over word 5-grams, vectorised in NumPy from bytes to signature."""

import re

import numpy as np
from numpy.typing import NDArray

SHINGLE_WORDS = 5
PERMUTATIONS = 128

_BLOCK = 512  # shingles hashed at once: 512 x 128 values of 4 bytes stay in the second-level cache
_TO_SPACE = bytes(byte if byte >= 0x80 or chr(byte).isalnum() else 0x20 for byte in range(256))
_UNICODE_PUNCTUATION = re.compile("[\u2000-\u206f\u00a0-\u00bf]+")


class MinHasher:
    """Turns texts into signatures; the same seed gives the same signatures on every machine.

    Words are runs of letters and digits in lower case. Each 5-gram of words is hashed by a polynomial in
    64 bits over its bytes; all are taken from one running sum, so no word ever becomes a Python object.
    The share of equal positions in two signatures estimates the Jaccard similarity of the two sets of
    5-grams (Broder, "On the resemblance and containment of documents", 1997), with a standard error of at
    most 0.045 for 128 permutations.
    """

    def __init__(self, *, seed: int = 1) -> None:
        random = np.random.Generator(np.random.PCG64(seed))
        self.seed = seed
        self._byte_values = random.integers(1, 2**64, size=256, dtype=np.uint64)
        self._base = int(random.integers(0, 2**62)) * 4 + 3  # odd, so that it has an inverse modulo 2**64
        multipliers = random.integers(0, 2**31, size=PERMUTATIONS, dtype=np.uint32)
        self._multipliers = (multipliers * np.uint32(2) + np.uint32(1))[:, None]
        self._offsets = random.integers(0, 2**32, size=PERMUTATIONS, dtype=np.uint32)[:, None]
        self._scratch = np.empty((PERMUTATIONS, _BLOCK), dtype=np.uint32)
        self._powers, self._inverses = np.ones(1, np.uint64), np.ones(1, np.uint64)

    def signature(self, text: str) -> NDArray[np.uint32]:
        """(PERMUTATIONS,) minima of the permuted hashes of the text's 5-grams."""
        shingles = self.shingles(text)
        minima = np.full(PERMUTATIONS, np.iinfo(np.uint32).max, dtype=np.uint32)
        for start in range(0, len(shingles), _BLOCK):
            block = shingles[start : start + _BLOCK]
            permuted = self._scratch[:, : len(block)]
            np.multiply(self._multipliers, block, out=permuted)
            permuted += self._offsets
            np.minimum(minima, permuted.min(axis=1), out=minima)
        return minima

    def shingles(self, text: str) -> NDArray[np.uint32]:
        """Hashes of the text's 5-grams of words in order; a shorter text is one shingle as a whole."""
        data = words_of(text)
        codes = np.frombuffer(data, dtype=np.uint8)
        starts, ends = _word_bounds(codes)
        if len(starts) < SHINGLE_WORDS:
            starts, ends = starts[:1], ends[-1:]
        else:
            starts, ends = starts[: -SHINGLE_WORDS + 1], ends[SHINGLE_WORDS - 1 :]
        self._reach(len(codes) + 1)
        running = np.zeros(len(codes) + 1, dtype=np.uint64)
        np.cumsum(self._byte_values[codes] * self._inverses[: len(codes)], out=running[1:])
        return _mixed((running[ends] - running[starts]) * self._powers[ends])

    def _reach(self, length: int) -> None:
        """Extend the tables of powers of the base, and of its inverse, to `length`."""
        if len(self._powers) < length:
            self._powers = _powers(self._base, 2 * length)
            self._inverses = _powers(pow(self._base, -1, 2**64), 2 * length)


def words_of(text: str) -> bytes:
    """Letters and digits in lower case, everything else single spaces; never empty."""
    if not text.isascii():
        text = _UNICODE_PUNCTUATION.sub(" ", text)
    words = text.lower().encode("utf-8").translate(_TO_SPACE).split()
    return b" ".join(words) or b"-"


def _word_bounds(codes: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    spaces = np.flatnonzero(codes == 0x20)
    return np.concatenate(([0], spaces + 1)), np.concatenate((spaces, [len(codes)]))


def _powers(base: int, count: int) -> NDArray[np.uint64]:
    factors = np.full(count, base, dtype=np.uint64)
    factors[0] = 1
    return np.cumprod(factors, dtype=np.uint64)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """Spread every bit over all others (the finaliser of MurmurHash3) and keep the upper half."""
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    values = (values ^ (values >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return ((values ^ (values >> np.uint64(33))) >> np.uint64(32)).astype(np.uint32)
