"""Planning: shards of a fitting size that cover the corpus once."""

from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from postq.jobs.planning import RowRange, Window, even_ranges, merged, shard_size
from postq.models.corpus import Corpus
from postq.settings import Settings


def corpus_of(documents: int, words: int) -> Corpus:
    return Corpus(
        name="c",
        version=1,
        path="p",
        digest="d",
        source="s",
        documents=documents,
        words=words,
        facts={},
        created_at=datetime.now(tz=UTC),
    )


def test_long_documents_make_small_shards_and_short_ones_large() -> None:
    settings = Settings(shard_documents=5000, shard_words=2_000_000)
    assert shard_size(corpus_of(1000, 1000 * 2500), settings) == 800
    assert shard_size(corpus_of(1000, 1000 * 10), settings) == 5000
    assert shard_size(corpus_of(3, 3 * 10_000_000), settings) == 1
    assert shard_size(corpus_of(0, 0), settings) == 5000


@given(documents=st.integers(0, 3000), size=st.integers(1, 200))
def test_even_ranges_cover_every_row_once_and_none_is_too_large(documents: int, size: int) -> None:
    ranges = list(even_ranges(documents, size))
    assert [row for rows in ranges for row in range(rows.start, rows.stop)] == list(range(documents))
    assert all(0 < rows.size <= size for rows in ranges)


@given(rows=st.sets(st.integers(0, 2000)), size=st.integers(1, 50))
def test_merged_windows_hold_every_unscored_row_once_and_no_more_than_a_shard(
    rows: set[int], size: int
) -> None:
    by_window: dict[int, list[int]] = {}
    for row in sorted(rows):
        by_window.setdefault(row // size, []).append(row)
    windows = [Window(start=held[0], stop=held[-1] + 1, unscored=len(held)) for held in by_window.values()]
    ranges = list(merged(windows, size))
    counts = [sum(one.start <= row < one.stop for row in rows) for one in ranges]
    assert sum(counts) == len(rows)
    assert all(0 < count <= size for count in counts)
    assert all(left.stop <= right.start for left, right in pairwise(ranges))
    # No two neighbours could have been one shard.
    assert all(left + right > size for left, right in pairwise(counts))


def test_a_range_knows_its_size() -> None:
    assert RowRange(start=3, stop=10).size == 7
