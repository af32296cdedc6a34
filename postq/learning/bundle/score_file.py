"""Scores and truths a bundle keeps, so that reports, comparisons and new thresholds need no device."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from postq.learning.bundle.manifest import SCORES

Part = Literal["tuning", "validation", "test"]
MAX_STORED_BYTES = 256 * 2**20
"""Parts above this size are not kept; reports then draw their curves from metrics.json alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredPart:
    """Scores of one part of the corpus: `tuning` (what thresholds were tuned on), `validation` or `test`."""

    part: Part
    model: str
    """`main`, or `baseline` for the TF-IDF trained beside an encoder."""
    document_ids: Sequence[str]
    word_counts: NDArray[np.int64]
    truth: NDArray[np.bool_]
    """(docs, labels)"""
    scores: NDArray[np.float32]
    """(docs, labels) probabilities."""


def write_scores(folder: Path, parts: Sequence[ScoredPart]) -> None:
    """Write `scores.parquet` with the parts that fit under MAX_STORED_BYTES together."""
    kept: list[ScoredPart] = []
    for part in parts:
        if sum(other.scores.nbytes for other in [*kept, part]) <= MAX_STORED_BYTES:
            kept.append(part)
    if kept:
        pq.write_table(pa.concat_tables([_table(part) for part in kept]), folder / SCORES, compression="zstd")


def read_scores(folder: Path) -> dict[tuple[str, Part], ScoredPart]:
    """The stored parts by (model, part); empty when the bundle kept none."""
    if not (folder / SCORES).exists():
        return {}
    table = pq.read_table(folder / SCORES)
    keys = {(row["model"], row["part"]) for row in table.select(["model", "part"]).to_pylist()}
    return {key: _part(table, model=key[0], part=key[1]) for key in sorted(keys)}


def _table(part: ScoredPart) -> pa.Table:
    documents, labels = part.scores.shape
    scores = pa.FixedSizeListArray.from_arrays(pa.array(part.scores.ravel(), pa.float32()), labels)
    truth = pa.array([np.flatnonzero(row).tolist() for row in part.truth], pa.list_(pa.int32()))
    return pa.table(
        {
            "model": pa.array([part.model] * documents, pa.string()),
            "part": pa.array([part.part] * documents, pa.string()),
            "document_id": pa.array(list(part.document_ids), pa.string()),
            "word_count": pa.array(part.word_counts, pa.int64()),
            "truth": truth,
            "scores": scores,
        }
    )


def _part(table: pa.Table, *, model: str, part: Part) -> ScoredPart:
    expression = (pc.field("model") == model) & (pc.field("part") == part)
    rows = table.filter(expression).combine_chunks()
    labels = rows.schema.field("scores").type.list_size
    scores = rows["scores"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    truth = np.zeros((rows.num_rows, labels), dtype=np.bool_)
    for index, columns in enumerate(rows["truth"].to_pylist()):
        truth[index, columns] = True
    return ScoredPart(
        part=part,
        model=model,
        document_ids=rows["document_id"].to_pylist(),
        word_counts=rows["word_count"].to_numpy(),
        truth=truth,
        scores=scores.reshape(-1, labels),
    )
