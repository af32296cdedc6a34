"""Short documents on the CPU: alone or in a batch, and through which products, in CPU seconds of one thread.

`python -m benchmarks.longformer_short` records both tables (some minutes on a quiet core), `--only alone` or
`--only products` one of them; `--quick` tries the script in a minute, with too few layers, lengths and rounds
to quote. Where there are no compiled products the columns that need them are left out.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from benchmarks._longformer import (
    agree,
    base_model,
    cpu_rounds,
    documents,
    least,
    packed,
    products_by,
    ratios,
)
from benchmarks.recording import record
from postq.learning.longformer import FastLongformer, accelerate, products
from postq.learning.longformer.compiled import compiled, why_not_compiled

Row = dict[str, Any]
LENGTHS = (32, 64, 128, 256, 512, 1_024, 2_048)
BATCH_TOKENS = 6_144
LOGITS_AGREE = 1e-4
MILLISECONDS = 1_000
LEAST_ROWS = dict(products.LEAST_ROWS)
"""Fewer tokens go through torch's products, unless packed weights are kept; by the floats in a vector."""
TORCH, ANEW, KEPT = "torch's products", "packed each time", "kept"


def main() -> None:
    """Measure and record the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 layers, 2 lengths, small batches, 1 round")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--only", choices=["alone", "products"])
    asked = parser.parse_args()
    lengths, layers, count = ((64, 512), 2, 1) if asked.quick else (LENGTHS, asked.layers, asked.rounds)
    tokens = 1_024 if asked.quick else BATCH_TOKENS
    tables: dict[str, Callable[[], list[Row]]] = {
        "alone": lambda: alone_table(lengths, layers, count, batch_tokens=tokens),
        "products": lambda: products_table(lengths, layers, count),
    }
    torch.set_num_threads(1)
    for name, table in tables.items():
        if asked.only in (None, name):
            keep(name + ("_quick" if asked.quick else ""), table(), layers=layers, rounds=count, batch=tokens)


def alone_table(lengths: Sequence[int], layers: int, count: int, *, batch_tokens: int) -> list[Row]:
    """Documents of each length, one at a time and all in one batch, weights kept as in bulk scoring."""
    fast = accelerate(base_model(layers=layers)).keep_packed()
    with torch.inference_mode():
        return [alone_row(fast, documents([length] * (batch_tokens // length)), count) for length in lengths]


def alone_row(fast: FastLongformer, docs: list[Tensor], count: int) -> Row:
    """What scoring alone costs, and what it gains: bits that hang on nothing but the document."""

    def alone() -> Tensor:
        return torch.cat([fast.forward_packed(*packed([doc])) for doc in docs])

    def batched() -> Tensor:
        return fast.forward_packed(*packed(docs))

    single, together = alone(), batched()
    agree(single, together, most=LOGITS_AGREE, what="logits alone and in a batch")
    seen = cpu_rounds({"alone": alone, "batched": batched}, count)
    each = MILLISECONDS / len(docs)
    return {
        "tokens a document": len(docs[0]),
        "documents": len(docs),
        "alone ms": round(each * least(seen, "alone"), 1),
        "batched ms": round(each * least(seen, "batched"), 1),
        "alone ÷ batched": round(least(seen, "alone") / least(seen, "batched"), 2),
        "its median": round(ratios(seen, "alone", "batched")[0], 2),
        "scores apart by": float(f"{(single.sigmoid() - together.sigmoid()).abs().max():.2g}"),
        "other bits in a batch": int((single != together).any(dim=1).sum()),
        "other bits on two threads": int((single != _on_two_threads(alone)).any(dim=1).sum()),
    }


def _on_two_threads(work: Callable[[], Tensor]) -> Tensor:
    torch.set_num_threads(2)
    try:
        return work()
    finally:
        torch.set_num_threads(1)


def products_table(lengths: Sequence[int], layers: int, count: int) -> list[Row]:
    """One document of each length through torch's products and, where there are any, compiled ones.

    Weights are packed for the shortest document too, to see what that would cost, though not for the one row
    of the last layer; the last column says what a model that keeps none would take.
    """
    model = base_model(layers=layers)
    fast = accelerate(model)
    ways = {TORCH: partial(through, fast, "plain")}
    if products.packing_works():
        ways[ANEW] = partial(through, fast, "packed")
        ways[KEPT] = partial(through, accelerate(model).keep_packed(), "packed")
    with torch.inference_mode(), patch.dict(products.LEAST_ROWS, dict.fromkeys(LEAST_ROWS, min(lengths))):
        return [products_row(ways, documents([length])[0], count) for length in lengths]


def through(fast: FastLongformer, way: str, doc: Tensor) -> Tensor:
    """Logits by `plain` products, torch's, or `packed` ones."""
    with products_by(way):
        return fast.forward_packed(*packed([doc]))


def products_row(ways: Mapping[str, Callable[[Tensor], Tensor]], doc: Tensor, count: int) -> Row:
    """Milliseconds by every way."""
    wanted = ways[TORCH](doc)
    for name, way in ways.items():
        agree(wanted, way(doc), most=LOGITS_AGREE, what=f"logits by torch's products and {name}")
    seen = cpu_rounds({name: partial(way, doc) for name, way in ways.items()}, count)
    row: Row = {"tokens a document": len(doc)}
    row |= {f"{name} ms": round(MILLISECONDS * least(seen, name), 1) for name in ways}
    if ANEW in ways:
        row["taken where none are kept"] = ANEW if len(doc) >= LEAST_ROWS[compiled.lanes] else TORCH
    return row


def keep(name: str, rows: list[Row], **parameters: int) -> None:
    """Record one table, and say what this machine could not give."""
    method = (
        f"CPU time of one thread, milliseconds a document, least of {parameters['rounds']} interleaved "
        f"rounds after one to warm up; float32, base size with {parameters['layers']} layers, random "
        "weights and tokens; logits of all ways were checked to be equal within 1e-4. Alone: one at a "
        f"time, packed weights kept, against one batch of {parameters['batch']:,} tokens; other bits: "
        "documents whose logits differ in any. Products: one document at a time."
    )
    if not products.packing_works():
        why_not = why_not_compiled() or "they disagree with torch's"
        method += f" No compiled products here ({why_not}): no weight was packed."
    record(f"longformer_short_{name}", rows, method=method, parameters=parameters | {"threads": 1})


if __name__ == "__main__":
    main()
