"""Result files give back what was written, and a lost or doubled document is noticed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from postq.contracts.scoring import DocumentFailure, ScoreBatch
from postq.errors import DigestMismatch
from postq.tasks import results
from postq.tasks.results import ResultWriter, check_coverage, read_quarantine, read_scores

LABELS = ("dismissal", "appeal", "stay")


def batch(rows: Sequence[int]) -> ScoreBatch:
    count = len(rows)
    scores = np.random.default_rng(0).random((count, len(LABELS)), dtype=np.float32)
    return ScoreBatch(
        rows=np.array(rows, dtype=np.int64),
        scores=scores,
        tokens_total=np.full(count, 7, dtype=np.int32),
        tokens_seen=np.full(count, 5, dtype=np.int32),
    )


def write(folder: Path, *batches: Sequence[int], failures: Sequence[int] = ()) -> list[ScoreBatch]:
    written = [batch(rows) for rows in batches]
    with ResultWriter(folder, labels=LABELS) as writer:
        for one in written:
            writer.add(one)
        for row in failures:
            writer.quarantine(DocumentFailure(row=row, error="ValueError: bad"))
    return written


def test_scores_come_back_bit_for_bit(tmp_path: Path) -> None:
    written = write(tmp_path, [3, 1], [2])
    (after,) = read_scores(tmp_path)
    assert after.scores.tobytes() == b"".join(before.scores.tobytes() for before in written)
    assert after.rows.tolist() == [3, 1, 2]
    assert after.tokens_total.tolist() == [7] * 3
    assert after.tokens_seen.tolist() == [5] * 3


def test_many_scores_come_back_in_pieces_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(results, "READ_ROWS", 2)
    written = write(tmp_path, [3, 1], [2], [5, 4])
    found = list(read_scores(tmp_path))
    assert [one.rows.tolist() for one in found] == [[3, 1], [2, 5], [4]]
    scores = b"".join(before.scores.tobytes() for before in written)
    assert b"".join(one.scores.tobytes() for one in found) == scores


def test_scores_of_a_strided_or_double_array_are_stored_row_by_row(tmp_path: Path) -> None:
    one = batch([0, 1])
    turned = np.asfortranarray(one.scores.astype(np.float64))
    with ResultWriter(tmp_path, labels=LABELS) as writer:
        writer.add(
            ScoreBatch(
                rows=one.rows, scores=turned, tokens_total=one.tokens_total, tokens_seen=one.tokens_seen
            )  # type: ignore[arg-type]
        )
    (after,) = read_scores(tmp_path)
    assert np.array_equal(after.scores, one.scores)


def test_an_endless_error_text_is_cut(tmp_path: Path) -> None:
    with ResultWriter(tmp_path, labels=LABELS) as writer:
        writer.quarantine(DocumentFailure(row=4, error="x" * 1_000_000))
    (failure,) = read_quarantine(tmp_path)
    assert (failure.row, len(failure.error)) == (4, 2000)


def test_whole_coverage_passes_in_any_order(tmp_path: Path) -> None:
    write(tmp_path, [12, 10], [13], failures=[11])
    check_coverage(tmp_path, wanted=range(10, 14))


def test_nothing_wanted_and_nothing_written_is_whole(tmp_path: Path) -> None:
    write(tmp_path)
    check_coverage(tmp_path, wanted=())


@pytest.mark.parametrize(
    ("batches", "failures", "words"),
    [
        (([0, 1],), (), "1 missing"),
        (([0, 1, 2, 3],), (), "1 not asked for"),
        (([0, 1, 2], [2]), (), "1 twice"),
        (([0, 1, 2],), (2,), "1 twice"),
        ((), (), "3 missing"),
    ],
)
def test_a_lost_foreign_or_doubled_document_is_refused(
    batches: tuple[list[int], ...], failures: tuple[int, ...], words: str, tmp_path: Path
) -> None:
    write(tmp_path, *batches, failures=failures)
    with pytest.raises(DigestMismatch, match=words):
        check_coverage(tmp_path, wanted=range(3))
