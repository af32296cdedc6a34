"""Longformer on a CUDA GPU: every exactness check, then every table, in one call.

`python -m benchmarks.longformer_cuda` ends at once, saying so, on a machine without a CUDA device. Checks
come first, and a kernel that fails one is not timed: a fast wrong answer is worth nothing. A table that
cannot be made leaves the others alone; then the exit status is 1. The tables that matter most come first.
"""

import argparse
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks._cuda_checks import BFLOAT16, KERNELS, Row, checks, failed
from benchmarks._cuda_processor import processor_rows
from benchmarks._longformer import (
    LONGEST,
    base_model,
    documents,
    least_work,
    matmul_peak,
    middle,
    packed,
    padded,
    ratios,
    real_lengths,
    rounds,
    timed,
)
from benchmarks.recording import record
from postq.contracts.device import Device
from postq.learning.encoder.forward.calling import scoring_form
from postq.learning.encoder.forward.compute import placed
from postq.learning.encoder.forward.inference import document_logits, token_budget
from postq.learning.encoder.tokens.tokeniser import TokenisedText
from postq.learning.longformer import accelerate, plan_batches

MEGABYTE = 2**20
TIMED = ("triton",)


def main() -> int:
    """Check, then measure; 1 when a check failed or a table could not be made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="4 layers, 1 round, short documents")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--documents", type=int, default=512, help="judgments in the real-lengths table")
    parser.add_argument("--kernels", nargs="+", choices=KERNELS, help="those to time; all are checked")
    parser.add_argument("--budgets", type=int, nargs="+", default=[16_384, 65_536, 131_072])
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        print("No CUDA device here: nothing was checked, nothing was measured.")
        return 0
    layers, count = (4, 1) if asked.quick else (12, asked.rounds)
    lengths = [512, 1_024] if asked.quick else [512, 1_024, 2_048, 4_096]
    number = 32 if asked.quick else asked.documents
    found = checks()
    keep("checks", found, rounds=1, layers=3)
    wrong = {row["kernel"] for row in failed(found)}
    kernels = [kernel for kernel in (asked.kernels or TIMED) if kernel not in wrong]
    tables: dict[str, Callable[[], list[Row]]] = {
        "real": partial(real_table, number, asked.budgets, layers, count, kernels),
        "processor": partial(processor_table, number, asked.budgets, layers),
        "training": partial(training_table, lengths, layers, count, kernels),
        "forward": partial(forward_table, lengths, layers, count, kernels),
    }
    if not kernels:
        print("No kernel passed its checks: nothing was timed.")
        return 1
    made = [made_table(name, table, rounds=count, layers=layers) for name, table in tables.items()]
    return 0 if all(made) and not failed(found) else 1


def made_table(name: str, table: Callable[[], list[Row]], **parameters: int) -> bool:
    """Make and record one table; False, with the traceback on the terminal, when that failed."""
    try:
        keep(name, table(), **parameters)
    except Exception:
        traceback.print_exc()
        torch.cuda.empty_cache()
        return False
    return True


def keep(name: str, rows: list[Row], **parameters: int) -> None:
    """Record one table."""
    method = (
        f"{parameters['rounds']} interleaved rounds of (product peak, stock, ours) after one to warm up, "
        "bfloat16, base size, random weights; `as postq scores` keeps parameters and residual stream in "
        "float32; medians of seconds, ratios within a round (median, least). "
        "The share counts only the work that exact logits need, against the best 8,192-square product of the "
        "same round. Stock takes the fastest of several batch sizes. Exactness was checked first."
    )
    device = torch.cuda.get_device_name()
    record(f"longformer_cuda_{name}", rows, method=method, parameters=parameters, device=device)


def peak() -> float:
    """bfloat16 product rate, now."""
    return matmul_peak(size=8_192, dtype=BFLOAT16, device="cuda")


def forward_table(lengths: Sequence[int], layers: int, count: int, kernels: Sequence[str]) -> list[Row]:
    """65,536 tokens of equal documents per call, against stock at its best batch size."""
    model = base_model(layers=layers).cuda().to(BFLOAT16)
    return [row for length in lengths for row in _forward_rows(model, length, layers, count, kernels)]


def _forward_rows(model: Any, length: int, layers: int, count: int, kernels: Sequence[str]) -> list[Row]:
    docs = documents([length] * max(1, 65_536 // length))
    works: dict[str, Callable[[], object]] = {
        "stock": partial(run_stock, model, docs, best_batch(model, docs[:32]))
    }
    for kernel in kernels:
        works[kernel] = partial(accelerate(model, attention=kernel).forward_packed, *packed(docs))
    with torch.inference_mode():
        seen = rounds(works, count, device="cuda", peak=peak)
        memory = {name: most_memory(work) for name, work in works.items()}
    work = least_work([length] * len(docs), layers=layers)
    name = f"{len(docs)} × {length:,}"
    return [compared(name, seen, work, "stock", kernel, len(docs), memory) for kernel in kernels]


def real_table(
    number: int, budgets: Sequence[int], layers: int, count: int, kernels: Sequence[str]
) -> list[Row]:
    """Judgments of real lengths: stock padded (as they come, and sorted), every kernel by token budget."""
    model, lengths = base_model(layers=layers).cuda().to(BFLOAT16), real_lengths(number)
    docs = documents(lengths)
    batch = best_batch(model, sorted(docs, key=len)[-32:])
    works: dict[str, Callable[[], object]] = {
        "padded": partial(run_stock, model, docs, batch),
        "sorted": partial(run_stock, model, sorted(docs, key=len), batch),
    }
    for budget in budgets:
        plan = [[docs[i] for i in members] for members in plan_batches(lengths, budget)]
        for kernel in kernels:
            works[f"{kernel}, {budget:,}"] = partial(run_packed, accelerate(model, attention=kernel), plan)
    scored = as_scored(layers)
    for budget in budgets:
        works[f"as postq scores, {budget:,}"] = partial(run_scoring, scored, docs, budget)
    works = told(works)
    with torch.inference_mode():
        seen = rounds(works, count, device="cuda", peak=peak)
        memory = {name: most_memory(work) for name, work in works.items()}
    work = least_work(lengths, layers=layers)
    ours = [name for name in works if name not in ("padded", "sorted")]
    return [
        compared(f"{number} judgments, stock {slow}", seen, work, slow, name, number, memory)
        for slow in ("padded", "sorted")
        for name in ours
    ]


def processor_table(number: int, budgets: Sequence[int], layers: int) -> list[Row]:
    """How long the processor is at a batch, and how long the GPU; as postq scores."""
    return processor_rows(as_scored(layers), real_lengths(number), budgets)


def training_table(lengths: Sequence[int], layers: int, count: int, kernels: Sequence[str]) -> list[Row]:
    """Forward and backward under bfloat16 autocast, 16,384 tokens per call; attention dropout 0 and 0.1."""
    rows = []
    for dropout in (0.0, 0.1):
        model = base_model(layers=layers, dropout=dropout).cuda().train()
        for length in lengths:
            docs = documents([length] * max(1, 16_384 // length))
            rows += _training_rows(model, docs, dropout, layers, count, kernels)
    return rows


def _training_rows(
    model: Any,
    docs: list[torch.Tensor],
    dropout: float,
    layers: int,
    count: int,
    kernels: Sequence[str],
) -> list[Row]:
    whole = {key: value.cuda() for key, value in padded(docs).items()}
    works: dict[str, Callable[[], object]] = {"stock": partial(step, lambda: model(**whole).logits)}
    for kernel in kernels:
        fast = accelerate(model, attention=kernel)
        works[kernel] = partial(step, partial(fast.forward_packed, *packed(docs)))
    seen = rounds(works, count, device="cuda", peak=peak)
    memory = {name: most_memory(work) for name, work in works.items()}
    work = 3 * least_work([len(doc) for doc in docs], layers=layers)
    name = f"{len(docs)} × {len(docs[0]):,}, dropout {dropout}"
    return [compared(name, seen, work, "stock", kernel, len(docs), memory) for kernel in kernels]


def step(logits: Callable[[], torch.Tensor]) -> None:
    """One forward and backward under autocast."""
    with torch.autocast("cuda", BFLOAT16):
        answer = logits()
    answer.float().sum().backward()


def run_stock(model: Any, docs: Sequence[torch.Tensor], batch: int) -> None:
    """Padded batches in the order given."""
    for start in range(0, len(docs), batch):
        model(**padded(docs[start : start + batch], device="cuda"))


def run_packed(fast: Any, plan: Sequence[Sequence[torch.Tensor]]) -> None:
    """Packed batches in the order given."""
    for batch in plan:
        fast.forward_packed(*packed(batch))


def told(works: Mapping[str, Callable[[], object]]) -> dict[str, Callable[[], object]]:
    """The same, each saying on the terminal how long it took: a table cut short shows where the time went."""

    def run(name: str, work: Callable[[], object]) -> None:
        print(f"{name}: {timed(work, device='cuda'):.2f} s", flush=True)

    return {name: partial(run, name, work) for name, work in works.items()}


def as_scored(layers: int) -> nn.Module:
    """The same model as `classify-corpus` runs it: parameters in float32, products narrowed once."""
    return scoring_form(placed(base_model(layers=layers), torch.device("cuda")))


def run_scoring(form: nn.Module, docs: Sequence[torch.Tensor], tokens: int) -> None:
    """Scores as `classify-corpus` makes them, from tokens in memory to logits in memory."""
    budget = token_budget(form, Device(kind="cuda", index=0), asked=tokens, divisor=1)
    texts = [
        TokenisedText(
            pieces=(doc.numpy(),), tokens_total=len(doc), tokens_seen=len(doc), estimated=False, readable=True
        )
        for doc in docs
    ]
    for _ in document_logits(form, [texts], budget=budget, pooling="max"):
        pass


def best_batch(model: Any, docs: Sequence[torch.Tensor]) -> int:
    """The batch size at which stock runs these documents fastest."""
    sizes = [
        size for size in (2, 4, 8, 16, 32) if size <= len(docs) and size * len(docs[-1]) <= 32 * LONGEST
    ] or [1]
    with torch.inference_mode():
        works = {str(size): partial(run_stock, model, docs, size) for size in sizes}
        seen = rounds(works, 1, device="cuda", peak=lambda: 1.0)
    return min(sizes, key=lambda size: middle(seen, str(size)))


def most_memory(work: Callable[[], object]) -> int:
    """Bytes allocated on the device, at the highest, above what was there before."""
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    work()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def compared(
    name: str,
    seen: list[dict[str, float]],
    work: float,
    slow: str,
    fast: str,
    documents_run: int,
    memory: dict[str, int],
) -> Row:
    """One row: rates, share of the peak, ratio and memory."""
    median, least = ratios(seen, slow, fast)
    return {
        "documents × tokens": name,
        "ours": fast,
        "peak TFLOP/s": round(middle(seen, "peak") / 1e12),
        "stock docs/s": round(documents_run / middle(seen, slow), 1),
        "ours docs/s": round(documents_run / middle(seen, fast), 1),
        "ours share": round(work / middle(seen, fast) / middle(seen, "peak"), 2),
        "ratio": round(median, 2),
        "least ratio": round(least, 2),
        "stock MB": memory[slow] // MEGABYTE,
        "ours MB": memory[fast] // MEGABYTE,
    }


if __name__ == "__main__":
    sys.exit(main())
