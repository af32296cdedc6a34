"""Documents of real lengths on the CPU: scored and trained on as users do it, and packed, batch by batch."""

import ctypes
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks._longformer import (
    agree,
    base_model,
    documents,
    least_work,
    matmul_peak,
    packed,
    padded,
    real_lengths,
)
from postq.learning.longformer import FastLongformer, accelerate, best_token_budget, plan_batches

Row = dict[str, Any]
Docs = Sequence[Tensor]
LABELS = 41
LOGITS_AGREE = 1e-4
GRADIENTS_AGREE = 1e-4


@dataclass(kw_only=True)
class Contest:
    """Wall and CPU seconds of each way to do the same work, one entry per batch of documents."""

    wall: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    peaks: list[float] = field(default_factory=list)
    """Operations per second of the best product, measured before each batch."""

    def turn(self, works: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
        """Run every way once, who begins changing from batch to batch; returns what each returned."""
        self.peaks.append(matmul_peak())
        names, found = list(works), {}
        first = len(self.peaks) % len(names)
        for name in names[first:] + names[:first]:
            wall, cpu = time.perf_counter(), time.process_time()
            found[name] = works[name]()
            self.wall.setdefault(name, []).append(time.perf_counter() - wall)
            self.cpu.setdefault(name, []).append(time.process_time() - cpu)
        return found

    def row(self, slow: str, fast: str, *, docs: int, work: float) -> Row:
        """`slow` against `fast`: totals over all batches, and the ratios by wall and by CPU seconds."""
        each = [s / f for s, f in zip(self.wall[slow], self.wall[fast], strict=True)]
        peak = median(self.peaks)
        slow_seconds, fast_seconds = sum(self.wall[slow]), sum(self.wall[fast])
        return {
            "stock": slow,
            "against": fast,
            "stock s": round(slow_seconds, 1),
            "ours s": round(fast_seconds, 1),
            "ratio": round(slow_seconds / fast_seconds, 2),
            "least of a batch": round(min(each), 2),
            "ratio in CPU s": round(sum(self.cpu[slow]) / sum(self.cpu[fast]), 2),
            "stock share of peak": round(work / slow_seconds / peak, 2),
            "ours share of peak": round(work / fast_seconds / peak, 2),
            "peak GFLOP/s": round(peak / 1e9),
            "stock docs/s": round(docs / slow_seconds, 3),
            "ours docs/s": round(docs / fast_seconds, 3),
        }


def scoring_table(count: int, layers: int, *, size: int) -> tuple[list[Row], dict[str, Any]]:
    """Judgments in mixed order, in batches of `size`: padded, one by one, and packed by token budget."""
    model, lengths = base_model(layers=layers), real_lengths(count)
    docs, fast, contest = documents(lengths), accelerate(model), Contest()
    pads, singles, ours = f"padded batches of {size}", "one by one", "packed"
    with torch.inference_mode():
        warm = documents([600, 700])
        fast.forward_packed(*packed(warm))
        model(**padded(warm))
        for start in range(0, count, size):
            batch = docs[start : start + size]
            answers = contest.turn(
                {
                    pads: lambda batch=batch: model(**padded(batch)).logits,
                    singles: lambda batch=batch: torch.cat([model(doc[None]).logits for doc in batch]),
                    ours: lambda batch=batch: _packed_logits(fast, batch),
                }
            )
            for name in (pads, singles):
                agree(answers[name], answers[ours], most=LOGITS_AGREE, what=f"logits of {name}")
    work = least_work(lengths, layers=layers)
    rows = [contest.row(slow, ours, docs=count, work=work) for slow in (pads, singles)]
    return rows, _shapes(lengths, size)


def _shapes(lengths: Sequence[int], size: int) -> dict[str, Any]:
    batches = [lengths[start : start + size] for start in range(0, len(lengths), size)]
    return {
        "documents": len(lengths),
        "tokens": sum(lengths),
        "padded_tokens": sum(max(batch) * len(batch) for batch in batches),
        "batch_shapes": [[len(batch), max(batch)] for batch in batches],
    }


def _packed_logits(fast: FastLongformer, docs: Docs) -> Tensor:
    """(docs, labels) in the order of `docs`, run longest first in batches of the CPU's token budget."""
    plan = plan_batches([len(doc) for doc in docs], best_token_budget("cpu"))
    found = torch.cat([fast.forward_packed(*packed([docs[i] for i in batch])) for batch in plan])
    order = [index for batch in plan for index in batch]
    return found[torch.tensor(order).argsort()]


def training_table(count: int, layers: int, *, size: int) -> tuple[list[Row], dict[str, Any]]:
    """Optimizer steps over `size` judgments each: stock one by one, which pads nothing, against packed.

    The loop around stock is what HF Trainer runs in a step: forward, loss, backward for each document, then
    AdamW. `packed` drops out where stock does; `recipe` leaves attention probabilities alone, as postq's own
    recipe does.
    """
    model, lengths = base_model(layers=layers, dropout=0.0), real_lengths(count)
    docs, fast, contest = documents(lengths), accelerate(model), Contest()
    model.train()
    _gradients_agree(model, fast)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)  # equal weights for every turn
    for start in range(0, count, size):
        batch = docs[start : start + size]

        def step(losses: Callable[[], None], *, hidden: float, attention: float) -> None:
            set_dropout(model, hidden=hidden, attention=attention)
            optimizer.zero_grad()
            losses()
            optimizer.step()

        def stock(batch: Docs = batch) -> None:
            for doc in batch:
                backward(model(doc[None]).logits, documents=len(batch))

        def ours(batch: Docs = batch) -> None:
            for part in packed_batches(batch):
                backward(fast.forward_packed(*packed(part)), documents=len(batch))

        contest.turn(
            {
                "one by one": lambda: step(stock, hidden=0.1, attention=0.1),
                "packed": lambda: step(ours, hidden=0.1, attention=0.1),
                "recipe": lambda: step(ours, hidden=0.1, attention=0.0),
            }
        )
    work = 3 * least_work(lengths, layers=layers)
    rows = [contest.row("one by one", fast_name, docs=count, work=work) for fast_name in ("packed", "recipe")]
    return rows, {"documents": count, "tokens": sum(lengths), "documents_per_step": size}


def packed_batches(docs: Docs) -> list[list[Tensor]]:
    """The documents, longest first, in batches of the CPU's token budget."""
    plan = plan_batches([len(doc) for doc in docs], best_token_budget("cpu"))
    return [[docs[i] for i in batch] for batch in plan]


def backward(logits: Tensor, *, documents: int) -> None:
    """A mean over labels for each document, over all documents of the step: packing changes nothing."""
    targets = torch.zeros_like(logits)
    losses = binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(1)
    (losses.sum() / documents).backward()


def set_dropout(model: Any, *, hidden: float, attention: float) -> None:
    """Dropout of a stock model from now on."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = hidden
    for layer in model.longformer.encoder.layer:
        layer.attention.self.dropout = attention


def _gradients_agree(model: Any, fast: FastLongformer) -> None:
    """Stop unless one step of both, without dropout, gives the same gradients."""
    docs = documents([700, 900])
    found = []
    for run in (
        lambda: [backward(model(doc[None]).logits, documents=2) for doc in docs],
        lambda: backward(fast.forward_packed(*packed(docs)), documents=2),
    ):
        model.zero_grad()
        run()
        found.append({name: w.grad.clone() for name, w in model.named_parameters() if w.grad is not None})
    total = torch.stack([part.norm() for part in found[0].values()]).norm()
    for name, part in found[0].items():
        agree(part / total, found[1][name] / total, most=GRADIENTS_AGREE, what=f"gradient of {name}")
    model.zero_grad()


def keep_freed_memory() -> None:
    """Ask glibc not to hand freed memory back: spares stock, which allocates much, its page faults."""
    if sys.platform != "linux":
        raise SystemExit("--keep-memory needs Linux with glibc.")
    trim_threshold, mmap_threshold = -1, -3
    libc = ctypes.CDLL(None)
    for parameter in (trim_threshold, mmap_threshold):
        libc.mallopt(parameter, 2**30)
