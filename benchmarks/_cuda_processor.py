"""What a forward pass takes of the processor, which starts its kernels, and of the GPU, which runs them."""

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from benchmarks._cuda_checks import Row
from benchmarks._longformer import documents
from postq.learning.encoder.forward.calling import Batch, forward_logits
from postq.learning.longformer import plan_batches

REPEATS = 7
SHOWN = 12
"""Operations and kernels that take longest, for the terminal."""


def processor_rows(form: nn.Module, lengths: Sequence[int], budgets: Sequence[int]) -> list[Row]:
    """One full batch of every size, on an idle machine; and how long one small operation takes to start."""
    docs = documents(lengths)
    rows = []
    for budget in budgets:
        batch = Batch(pieces=tuple(docs[index].numpy() for index in plan_batches(lengths, budget)[0]))
        rows.append(_row(partial(_forward, form, batch), batch))
    return rows


def _forward(form: nn.Module, batch: Batch) -> None:
    with torch.no_grad():
        forward_logits(form, batch)


def _row(work: Callable[[], None], batch: Batch) -> Row:
    work()
    seen = [_started_and_done(work) for _ in range(REPEATS)]
    return {
        "tokens": batch.tokens,
        "documents": len(batch.pieces),
        "processor ms": round(statistics.median(started for started, _ in seen), 1),
        "done after ms": round(statistics.median(done for _, done in seen), 1),
        "kernels ms": round(_kernel_milliseconds(work), 1),
        "one small operation µs": round(_small_operation_microseconds(), 1),
    }


def _started_and_done(work: Callable[[], None]) -> tuple[float, float]:
    torch.cuda.synchronize()
    before = time.perf_counter()
    work()
    started = time.perf_counter() - before
    torch.cuda.synchronize()
    return 1_000 * started, 1_000 * (time.perf_counter() - before)


def _kernel_milliseconds(work: Callable[[], None]) -> float:
    """Sum over the kernels of one pass; what takes longest on either side goes to the terminal."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        work()
        torch.cuda.synchronize()
    events = profiled.key_averages()
    for kind in ("self_cpu_time_total", "self_device_time_total"):
        print(f"-- {kind}, ms")
        for event in sorted(events, key=lambda event: -float(getattr(event, kind)))[:SHOWN]:
            print(f"{getattr(event, kind) / 1_000:8.2f} {event.count:5} {event.key[:80]}", flush=True)
    return sum(event.self_device_time_total for event in events) / 1_000


def _small_operation_microseconds() -> float:
    values, repeats = torch.zeros(1_024, device="cuda"), 1_000
    torch.cuda.synchronize()
    before = time.perf_counter()
    for _ in range(repeats):
        values.add_(1.0)
    seconds = time.perf_counter() - before
    torch.cuda.synchronize()
    return 1e6 * seconds / repeats
