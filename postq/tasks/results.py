"""The result files of scored documents: scores as an Arrow file, quarantined documents as JSON lines.

The runner writes them into the attempt's own folder, the supervisor reads them into the database; they
are the only way documents' scores leave a runner. Nothing in them is executable.
"""

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from postq.contracts.scoring import DocumentFailure, ScoreBatch
from postq.errors import DigestMismatch

SCORES_FILE = "scores.arrow"
QUARANTINE_FILE = "quarantine.jsonl"
MAX_ERROR_CHARACTERS = 2000
READ_ROWS = 5000
"""Documents handed on at once: each batch costs the database two statements, however small it is."""


def score_schema(labels: int) -> pa.Schema:
    """Columns of the score file for a bundle with that many labels."""
    return pa.schema(
        [
            pa.field("row", pa.int64(), nullable=False),
            pa.field("scores", pa.list_(pa.float32(), labels), nullable=False),
            pa.field("tokens_total", pa.int32(), nullable=False),
            pa.field("tokens_seen", pa.int32(), nullable=False),
        ]
    )


class ResultWriter:
    """Writes both files of one attempt, batch by batch; complete only once it was left without an error."""

    def __init__(self, folder: Path, *, labels: Sequence[str]) -> None:
        self._schema = score_schema(len(labels))
        self._scores = pa.ipc.new_file(str(folder / SCORES_FILE), self._schema)
        self._quarantine = (folder / QUARANTINE_FILE).open("w", encoding="utf-8")
        self.predicted = 0
        self.quarantined = 0

    def add(self, batch: ScoreBatch) -> None:
        """Append scores."""
        flat = pa.array(np.ascontiguousarray(batch.scores, dtype=np.float32).reshape(-1))
        width = self._schema.field("scores").type.list_size
        columns = [
            pa.array(batch.rows, type=pa.int64()),
            pa.FixedSizeListArray.from_arrays(flat, width),
            pa.array(batch.tokens_total, type=pa.int32()),
            pa.array(batch.tokens_seen, type=pa.int32()),
        ]
        self._scores.write_batch(pa.record_batch(columns, schema=self._schema))
        self.predicted += len(batch.rows)

    def quarantine(self, failure: DocumentFailure) -> None:
        """Append a document that could not be scored."""
        line = {"row": int(failure.row), "error": failure.error[:MAX_ERROR_CHARACTERS]}
        self._quarantine.write(json.dumps(line) + "\n")
        self.quarantined += 1

    @property
    def documents(self) -> int:
        """Documents dealt with so far, one way or the other."""
        return self.predicted + self.quarantined

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scores.close()
        self._quarantine.close()


def read_scores(folder: Path) -> Iterator[ScoreBatch]:
    """All scores in the order they were written; those of many small batches together."""
    with pa.memory_map(str(folder / SCORES_FILE)) as source, pa.ipc.open_file(source) as reader:
        for batch in reader.read_all().combine_chunks().to_batches(max_chunksize=READ_ROWS):
            yield _score_batch(batch)


def read_quarantine(folder: Path) -> list[DocumentFailure]:
    """The documents that could not be scored."""
    with (folder / QUARANTINE_FILE).open(encoding="utf-8") as file:
        return [DocumentFailure(**json.loads(line)) for line in file]


def check_coverage(folder: Path, *, wanted: Collection[int]) -> None:
    """Every wanted row has exactly one score or one error, and no other row has any.

    Raises DigestMismatch otherwise: a result that lost or doubled a document is never stored.
    """
    parts = [batch.rows for batch in read_scores(folder)]
    failures = np.array([failure.row for failure in read_quarantine(folder)], dtype=np.int64)
    found = np.sort(np.concatenate([*parts, failures]))
    expected = np.sort(np.fromiter(wanted, dtype=np.int64, count=len(wanted)))
    if not np.array_equal(found, expected):
        raise DigestMismatch(
            f"A result covers {_difference(found, expected)}.",
            hint="This is a fault of postq or of the disk; the attempt is tried again. Please report it.",
        )


def _difference(found: NDArray[np.int64], expected: NDArray[np.int64]) -> str:
    missing = len(np.setdiff1d(expected, found))
    foreign = len(np.setdiff1d(found, expected))
    doubled = len(found) - len(np.unique(found))
    return f"not the documents asked for: {missing} missing, {foreign} not asked for, {doubled} twice"


def _score_batch(batch: pa.RecordBatch) -> ScoreBatch:
    scores = batch.column("scores")
    flat = scores.flatten().to_numpy(zero_copy_only=False)
    return ScoreBatch(
        rows=batch.column("row").to_numpy(),
        scores=flat.reshape(len(batch), scores.type.list_size),
        tokens_total=batch.column("tokens_total").to_numpy(),
        tokens_seen=batch.column("tokens_seen").to_numpy(),
    )
