"""Longformer on the CPU against transformers: forward, forward and backward, real lengths, peak memory.

`python -m benchmarks.longformer_cpu` records all tables (about half an hour on two quiet cores), `--only
real` and `--only real_training` those of real lengths (under ten minutes each); `--quick` tries the script
in a few minutes, with too few layers, lengths and rounds to quote.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import _real_lengths as real
from benchmarks._longformer import (
    base_model,
    documents,
    extra_memory,
    least_work,
    matmul_peak,
    middle,
    packed,
    ratios,
    real_lengths,
    rounds,
)
from benchmarks.recording import record
from postq.learning.longformer import accelerate, fastest_threads, plan_batches

Row = dict[str, Any]
MEGABYTE = 2**20
TABLES = ("forward", "training", "real", "real_training", "memory", "budget")


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="4 layers, fewer lengths, 1 round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="default: the count that multiplies fastest now")
    parser.add_argument("--documents", type=int, default=12, help="judgments in the real-lengths table")
    parser.add_argument("--batch", type=int, default=4, help="judgments in a padded batch or a step")
    parser.add_argument("--layers", type=int, help="default: 12")
    parser.add_argument("--keep-memory", action="store_true", help="real: glibc keeps freed memory, for all")
    parser.add_argument("--beside", metavar="NAME", help="another processor's tables stay; NAME ends these")
    parser.add_argument(
        "--only", choices=["forward", "training", "real", "real_training", "memory", "budget"]
    )
    parser.add_argument(
        "--measure-memory", nargs=3, metavar=("WHO", "WHAT", "TOKENS"), help=argparse.SUPPRESS
    )
    return parser.parse_args()


def main() -> None:
    """Run the tables asked for."""
    asked = options()
    torch.set_num_threads(asked.threads or fastest_threads())
    if asked.measure_memory:
        print(measured_memory(*asked.measure_memory, layers=4 if asked.quick else 12))
        return
    if asked.keep_memory:
        real.keep_freed_memory()
    layers, count = (4, 1) if asked.quick else (12, asked.rounds)
    layers = asked.layers or layers
    lengths = [256, 1_024] if asked.quick else [512, 1_024, 2_048, 4_096]
    tables: dict[str, Callable[[], list[Row]]] = {
        "forward": lambda: forward_table(lengths, layers, count),
        "training": lambda: training_table(lengths, layers, count),
        "memory": lambda: memory_table(lengths[-1], quick=asked.quick),
        "budget": lambda: budget_table(6 if asked.quick else 24, count),
    }
    for name, table in tables.items():
        if asked.only in (None, name):
            keep(name + ending(asked), table(), layers=layers, rounds=count)
    if asked.only in (None, "real"):
        count = 4 if asked.quick else asked.documents
        keep_real(asked, "real", real.scoring_table(count, layers, size=asked.batch), layers=layers)
    if asked.only in (None, "real_training"):
        count = 2 if asked.quick else 2 * asked.batch
        size = 1 if asked.quick else asked.batch
        keep_real(asked, "real_training", real.training_table(count, layers, size=size), layers=layers)


def keep_real(asked: argparse.Namespace, name: str, found: tuple[list[Row], Row], *, layers: int) -> None:
    """Record a table of real lengths, whose rounds are batches of documents."""
    rows, parameters = found
    method = (
        "Judgments spread evenly over the sorted lengths of the corpus, cut at 4,096 tokens, in a mixed "
        "order with a fixed seed. For each batch: product peak, then every way over the same documents, who "
        "begins changing from batch to batch; totals over all batches. Answers (scoring) or gradients "
        f"(training, beforehand) were checked to be equal. float32, {torch.get_num_threads()} threads, base "
        f"size with {layers} layers, random weights. The peak is the best 2,048-square product that torch "
        "offers, MKL's, oneDNN's or postq's own; the share counts only the work that exact logits need."
    )
    parameters |= {
        "threads": torch.get_num_threads(),
        "layers": layers,
        "glibc_keeps_memory": asked.keep_memory,
        "malloc": {k: v for k, v in os.environ.items() if k.startswith(("MALLOC_", "LD_PRELOAD"))},
    }
    name += ending(asked) + ("_kept_memory" if asked.keep_memory else "")
    print_markdown(rows, record(f"longformer_cpu_{name}", rows, method=method, parameters=parameters))


def ending(asked: argparse.Namespace) -> str:
    """What keeps a table apart from those of its kind."""
    return ("_quick" if asked.quick else "") + (f"_{asked.beside}" if asked.beside else "")


def keep(name: str, rows: list[Row], **parameters: int) -> None:
    """Record one table."""
    method = (
        f"{parameters['rounds']} interleaved rounds of (product peak, stock, ours) after one to warm up, "
        f"float32, {torch.get_num_threads()} threads, base size with {parameters['layers']} layers, random "
        "weights; medians of seconds, ratios within a round (median and least). The share counts only the "
        "work that exact logits need, against the best 2,048-square product of the same round. Stock runs "
        "eager, one unpadded document at a time, its best setting on a CPU, unless the row says otherwise. "
        "The budget and memory tables are not rounds: see their functions."
    )
    parameters["threads"] = torch.get_num_threads()
    file = record(f"longformer_cpu_{name}", rows, method=method, parameters=parameters)
    print_markdown(rows, file)


def print_markdown(rows: list[Row], file: Path) -> None:
    """The same table for docs/performance.md, with what it was measured on."""
    measured = json.loads(file.read_text(encoding="utf-8"))["measured"]
    versions = measured["versions"]
    print(
        f"\n{measured['date']}, commit {measured['commit']}, {measured['processor']}, "
        f"{torch.get_num_threads()} of {measured['cores']} cores, load {measured['load_at_end']}, "
        f"torch {versions['torch']}, transformers {versions['transformers']}\n"
    )
    print(f"| {' | '.join(rows[0])} |\n|{'---|' * len(rows[0])}")
    for row in rows:
        print(f"| {' | '.join(str(value) for value in row.values())} |")


def forward_table(lengths: list[int], layers: int, count: int) -> list[Row]:
    """One document of each length, with weights packed each time and, as bulk scoring has them, kept."""
    model = base_model(layers=layers)
    fast, kept = accelerate(model), accelerate(model).keep_packed()
    rows = []
    for length in lengths:
        doc = documents([length])[0]
        stream = packed([doc])
        with torch.inference_mode():
            agree(model(doc[None]).logits, fast.forward_packed(*stream))
            works = {
                "stock": lambda: model(doc[None]),  # noqa: B023
                "ours": lambda: fast.forward_packed(*stream),  # noqa: B023
                "kept": lambda: kept.forward_packed(*stream),  # noqa: B023
            }
            seen = rounds(works, count, peak=matmul_peak)
        row = compared(f"1 × {length:,}", seen, least_work([length], layers=layers))
        rows.append(row | weights_kept(seen, least_work([length], layers=layers)))
    return rows


def training_table(lengths: list[int], layers: int, count: int) -> list[Row]:
    """Forward and backward of one document of each length, with the stock dropout of 0.1 and without."""
    rows = []
    for dropout in (0.1, 0.0):
        model = base_model(layers=layers, dropout=dropout).train()
        fast = accelerate(model)
        for length in lengths:
            doc = documents([length])[0]
            works = {
                "stock": lambda: step(lambda: model(doc[None]).logits),  # noqa: B023
                "ours": lambda: step(lambda: fast.forward_packed(*packed([doc]))),  # noqa: B023
            }
            seen = rounds(works, count, peak=matmul_peak)
            name = f"1 × {length:,}, dropout {dropout}"
            rows.append(compared(name, seen, 3 * least_work([length], layers=layers)))
    return rows


def step(logits: Callable[[], torch.Tensor]) -> None:
    """One forward and backward; gradients add up, as they do under accumulation."""
    logits().sum().backward()


def budget_table(count_documents: int, count: int) -> list[Row]:
    """Which token budget runs the real lengths fastest: packing more only helps until caches overflow."""
    lengths, layers = real_lengths(count_documents), 4
    docs, fast = documents(lengths), accelerate(base_model(layers=layers))
    works = {
        f"{budget}": lambda budget=budget: [
            fast.forward_packed(*packed([docs[i] for i in batch])) for batch in plan_batches(lengths, budget)
        ]
        for budget in (1_024, 4_096, 8_192, 16_384, 32_768)
    }
    with torch.inference_mode():
        seen = rounds(works, count, peak=matmul_peak)
    work = least_work(lengths, layers=layers)
    return [
        {
            "budget (tokens)": int(budget),
            "seconds": round(middle(seen, budget), 2),
            "tokens/s": round(sum(lengths) / middle(seen, budget)),
            "share of peak": round(work / middle(seen, budget) / middle(seen, "peak"), 2),
        }
        for budget in works
    ]


def memory_table(tokens: int, *, quick: bool) -> list[Row]:
    """Highest memory above the loaded model, each in a process of its own."""
    rows = []
    for what in ("forward", "training"):
        stock, ours = (_memory_of(who, what, tokens, quick=quick) for who in ("stock", "ours"))
        rows.append(
            {
                "work": f"{what}, 1 × {tokens:,}",
                "stock MB": stock // MEGABYTE,
                "ours MB": ours // MEGABYTE,
                "ours ÷ stock": round(ours / stock, 2),
            }
        )
    return rows


def _memory_of(who: str, what: str, tokens: int, *, quick: bool) -> int:
    command = [sys.executable, "-m", "benchmarks.longformer_cpu", "--measure-memory", who, what, str(tokens)]
    command += ["--threads", str(torch.get_num_threads()), *(["--quick"] if quick else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.strip().splitlines()[-1])


def measured_memory(who: str, what: str, tokens: str, *, layers: int) -> int:
    """Bytes above the loaded model; for training, gradients are allocated before, for both alike."""
    model, doc = base_model(layers=layers), documents([int(tokens)])[0]
    fast = accelerate(model)

    def logits() -> torch.Tensor:
        return model(doc[None]).logits if who == "stock" else fast.forward_packed(*packed([doc]))

    if what == "forward":
        with torch.inference_mode():
            return extra_memory(logits)
    model.train()
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    return extra_memory(lambda: step(logits))


def compared(name: str, seen: list[dict[str, float]], work: float, *, slow: str = "stock") -> Row:
    """One row: seconds, shares of the peak, and the ratio."""
    median, least = ratios(seen, slow, "ours")
    return {
        "documents × tokens": name,
        "peak GFLOP/s": round(middle(seen, "peak") / 1e9),
        "stock s": round(middle(seen, slow), 3),
        "stock share": round(work / middle(seen, slow) / middle(seen, "peak"), 2),
        "ours s": round(middle(seen, "ours"), 3),
        "ours share": round(work / middle(seen, "ours") / middle(seen, "peak"), 2),
        "ratio": round(median, 2),
        "least ratio": round(least, 2),
    }


def weights_kept(seen: list[dict[str, float]], work: float) -> Row:
    """What a row says of forwards that find their weights packed already."""
    median, _ = ratios(seen, "stock", "kept")
    return {
        "weights kept: s": round(middle(seen, "kept"), 3),
        "weights kept: share": round(work / middle(seen, "kept") / middle(seen, "peak"), 2),
        "weights kept: ratio": round(median, 2),
    }


def agree(stock: torch.Tensor, ours: torch.Tensor) -> None:
    """Stop unless both logits are equal to 1e-4."""
    off = float((stock - ours).abs().max())
    if not off <= 1e-4:
        raise SystemExit(f"The logits differ by {off:.2g}; nothing was timed.")


if __name__ == "__main__":
    main()
