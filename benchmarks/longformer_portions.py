"""How much a Longformer should take at once on the CPU: rows through the feed-forward layers, tokens a batch.

`python -m benchmarks.longformer_portions` records both tables (some minutes on two quiet cores), `--only
rows` or `--only batches` one of them; `--quick` tries the script, with too few layers, tokens and rounds to
quote.
"""

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks._longformer import base_model, documents, least_work, matmul_peak, middle, packed, rounds
from benchmarks.recording import record
from postq.learning.longformer import FastLongformer, accelerate, fastest_threads
from postq.learning.longformer.feed_forward import CHUNK_ROWS

Row = dict[str, Any]
ROWS = (252, 504, 512, 1_008, 2_016)
SHORT, TOGETHER = 300, (1, 4, 8, 16, 32)
"""Tokens of the documents of the second table, and how many of them share a batch."""


def main() -> None:
    """Measure and record the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 layers, 1,024 tokens, 1 round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=4_096, help="of the document of the first table")
    parser.add_argument("--threads", type=int, help="default: the count that multiplies fastest now")
    parser.add_argument("--only", choices=["rows", "batches"])
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads or fastest_threads())
    layers, count = (2, 1) if asked.quick else (asked.layers, asked.rounds)
    tables: dict[str, Callable[[], list[Row]]] = {
        "rows": lambda: rows_table(1_024 if asked.quick else asked.tokens, layers, count),
        "batches": lambda: batches_table(layers, count),
    }
    for name, table in tables.items():
        if asked.only in (None, name):
            keep(name + ("_quick" if asked.quick else ""), table(), layers=layers, rounds=count)


def scoring_model(layers: int) -> FastLongformer:
    """As bulk scoring has it: packed weights kept, where there are any."""
    return accelerate(base_model(layers=layers)).keep_packed()


def rows_table(tokens: int, layers: int, count: int) -> list[Row]:
    """One document, with so many of its rows carried through both feed-forward layers at a time."""
    fast, doc = scoring_model(layers), documents([tokens])[0]

    def carry(rows: int) -> Tensor:
        with patch.dict(CHUNK_ROWS, cpu=rows):
            return fast.forward_packed(*packed([doc]))

    found = measured({rows: partial(carry, rows) for rows in ROWS}, count, [tokens], layers=layers)
    return [{"rows at once": rows, **row} for rows, row in found.items()]


def batches_table(layers: int, count: int) -> list[Row]:
    """The same short documents in batches of several sizes."""
    lengths = [SHORT] * max(TOGETHER)
    fast, docs = scoring_model(layers), documents(lengths)

    def score(together: int) -> None:
        for start in range(0, len(docs), together):
            fast.forward_packed(*packed(docs[start : start + together]))

    found = measured({size: partial(score, size) for size in TOGETHER}, count, lengths, layers=layers)
    return [{"documents a batch": size, "tokens a batch": size * SHORT, **row} for size, row in found.items()]


def measured(
    works: Mapping[int, Callable[[], object]], count: int, lengths: list[int], *, layers: int
) -> dict[int, Row]:
    """Median seconds, tokens a second and the share of the product's peak of each work on these documents."""
    with torch.inference_mode():
        seen = rounds({str(size): work for size, work in works.items()}, count, peak=matmul_peak)
    work, peak = least_work(lengths, layers=layers), middle(seen, "peak")
    return {size: _row(middle(seen, str(size)), sum(lengths), work / peak, layers) for size in works}


def _row(seconds: float, tokens: int, least_seconds: float, layers: int) -> Row:
    return {
        "seconds": round(seconds, 3),
        "tokens/s": round(tokens / seconds),
        "tokens/s a layer": round(tokens * (layers - 1) / seconds),
        "share of peak": round(least_seconds / seconds, 2),
    }


def keep(name: str, rows: list[Row], **parameters: int) -> None:
    """Record one table."""
    threads = torch.get_num_threads()
    method = (
        f"Medians of {parameters['rounds']} interleaved rounds of (product peak, every size in turn) after "
        f"one to warm up, float32, threads: {threads}, base size with {parameters['layers']} layers, of "
        "which the last is for the first token alone and not counted; random weights, kept packed where this "
        "machine packs any. The share counts only the work that exact logits need, against the best "
        "2,048-square product of all that are at hand."
    )
    record(f"longformer_portions_{name}", rows, method=method, parameters=parameters | {"threads": threads})


if __name__ == "__main__":
    main()
