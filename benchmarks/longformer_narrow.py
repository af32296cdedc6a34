"""Longformer in bfloat16 on a CPU: judgments scored and trained on, beside stock's own bfloat16 and float32.

`python -m benchmarks.longformer_narrow` records both tables, in about ten minutes on two cores with AMX;
`--only scoring` and `--only training` one of them; `--quick` tries the script with too little to quote.
Without AMX or AVX512_BF16 it takes hours, and is not worth it.
"""

import argparse
import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from benchmarks._longformer import base_model, documents, least_work, matmul_peak, packed, real_lengths
from benchmarks._real_lengths import Contest, backward, packed_batches, set_dropout
from benchmarks.recording import record
from postq.learning.longformer import FastLongformer, accelerate, fastest_threads

Row = dict[str, Any]
Docs = Sequence[Tensor]
Works = Mapping[str, Callable[[], Tensor]]
NARROW = torch.bfloat16
STOCK, STOCK_NARROW, STOCK_WHOLE = "stock fp32", "stock bf16 autocast", "stock bf16 whole"
OURS, OURS_NARROW = "postq fp32", "postq bf16"
METHOD = (
    "Judgments spread evenly over the sorted lengths of the corpus, cut at 4,096 tokens, in a mixed order "
    "with a fixed seed. {turns}, every way over the same documents, stock one at a time, who begins varying; "
    "totals. `autocast` keeps weights and the residual stream in float32 as postq does, `whole` has "
    "everything in bfloat16. The error is the norm of the difference from stock's logits in float32, over "
    "theirs less their mean. Base size with {layers} layers, random weights. The share counts only the work "
    "that exact logits need, against the best 2,048-square product in the same number format."
)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 layers, 4 documents")
    parser.add_argument("--documents", type=int, default=12, help="judgments that are scored")
    parser.add_argument("--threads", type=int, help="default: the count that multiplies fastest now")
    parser.add_argument("--only", choices=["scoring", "training"])
    return parser.parse_args()


def main() -> None:
    """Run the tables asked for."""
    asked = options()
    torch.set_num_threads(asked.threads or fastest_threads())
    layers, count = (3, 4) if asked.quick else (12, asked.documents)
    if asked.only != "training":
        keep(asked, "scoring", scoring_table(count, layers), layers=layers, turns="For each judgment")
    if asked.only != "scoring":
        size = 1 if asked.quick else 4
        rows = training_table(2 * size, layers, size=size)
        keep(asked, "training", rows, layers=layers, turns=f"For each optimizer step of {size}")


def keep(asked: argparse.Namespace, name: str, rows: list[Row], *, layers: int, turns: str) -> None:
    """Record one table."""
    ending = "_quick" if asked.quick else ""
    parameters = {"threads": torch.get_num_threads(), "layers": layers}
    method = METHOD.format(layers=layers, turns=turns)
    record(f"longformer_narrow_{name}{ending}", rows, method=method, parameters=parameters)


def scoring_table(count: int, layers: int) -> list[Row]:
    """One judgment at a time, as `classify-corpus` scores on a CPU, with kept weights."""
    model = base_model(layers=layers)
    whole, fast, narrow = copy.deepcopy(model).to(NARROW), kept(model), kept(model)
    lengths = real_lengths(count)
    contest, answers = Contest(), list[dict[str, Tensor]]()
    with torch.inference_mode():
        for turn, doc in enumerate([documents([600])[0], *documents(lengths)]):
            works = {
                STOCK: lambda doc=doc: model(doc[None]).logits,
                STOCK_NARROW: lambda doc=doc: narrowly(lambda: model(doc[None]).logits),
                STOCK_WHOLE: lambda doc=doc: whole(doc[None]).logits,
                OURS: lambda doc=doc: fast.forward_packed(*packed([doc])),
                OURS_NARROW: lambda doc=doc: narrowly(lambda: narrow.forward_packed(*packed([doc]))),
            }
            found = (contest if turn else Contest()).turn(works)  # the first only warms up
            answers += [found] if turn else []
    rows = compared(contest, docs=count, work=least_work(lengths, layers=layers))
    return [row | {"error": error_of(answers, row["way"])} for row in rows]


def kept(model: Any) -> FastLongformer:
    """The form that bulk scoring runs."""
    return accelerate(model).keep_packed()


def narrowly(work: Callable[[], Tensor]) -> Tensor:
    """The work under autocast to bfloat16."""
    with torch.autocast("cpu", NARROW):
        return work().float()


def error_of(answers: Sequence[Mapping[str, Tensor]], way: str) -> float:
    """How far logits are from stock's in float32, over how far those are from their mean."""
    exact, found = (torch.cat([answer[name].double() for answer in answers]) for name in (STOCK, way))
    return float(f"{float((found - exact).norm() / (exact - exact.mean(0)).norm()):.1e}")


def training_table(count: int, layers: int, *, size: int) -> list[Row]:
    """Optimizer steps over `size` judgments: stock one by one, packed, and as postq's recipe has it."""
    model, lengths = base_model(layers=layers, dropout=0.0), real_lengths(count)
    docs, fast, contest = documents(lengths), accelerate(model), Contest()
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)  # equal weights for every turn

    def step(losses: Callable[[], Any], *, attention: float) -> None:
        set_dropout(model, hidden=0.1, attention=attention)
        optimizer.zero_grad()
        losses()
        optimizer.step()

    def stock(batch: Docs, *, narrow: bool) -> None:
        for doc in batch:
            with torch.autocast("cpu", NARROW, enabled=narrow):
                logits = model(doc[None]).logits
            backward(logits.float(), documents=len(batch))

    def ours(batch: Docs, *, narrow: bool) -> None:
        for part in packed_batches(batch):
            with torch.autocast("cpu", NARROW, enabled=narrow):
                logits = fast.forward_packed(*packed(part))
            backward(logits.float(), documents=len(batch))

    for batch in (docs[start : start + size] for start in range(0, count, size)):
        contest.turn(
            {
                STOCK: lambda batch=batch: step(lambda: stock(batch, narrow=False), attention=0.1),
                STOCK_NARROW: lambda batch=batch: step(lambda: stock(batch, narrow=True), attention=0.1),
                OURS: lambda batch=batch: step(lambda: ours(batch, narrow=False), attention=0.1),
                OURS_NARROW: lambda batch=batch: step(lambda: ours(batch, narrow=True), attention=0.1),
                f"{OURS_NARROW}, recipe": lambda batch=batch: step(
                    lambda: ours(batch, narrow=True), attention=0.0
                ),
            }
        )
    return compared(contest, docs=count, work=3 * least_work(lengths, layers=layers))


def compared(contest: Contest, *, docs: int, work: float) -> list[Row]:
    """One row for each way: its seconds, and how many times faster the best of postq is."""
    narrow_peak = max(matmul_peak(dtype=NARROW) for _ in range(3))
    float_peak = sorted(contest.peaks)[len(contest.peaks) // 2]
    rows = []
    for way, seconds in contest.wall.items():
        ratios = [s / f for s, f in zip(seconds, contest.wall[OURS_NARROW], strict=True)]
        peak = float_peak if way in (STOCK, OURS) else narrow_peak
        rows.append(
            {
                "way": way,
                "seconds": round(sum(seconds), 1),
                "documents/s": round(docs / sum(seconds), 3),
                "times as long as postq bf16": round(sum(seconds) / sum(contest.wall[OURS_NARROW]), 2),
                "least of a turn": round(min(ratios), 2),
                "share of the peak": round(work / sum(seconds) / peak, 2),
                "peak GFLOP/s": round(peak / 1e9),
            }
        )
    return sorted(rows, key=lambda row: (str(row["way"]).startswith("postq"), -float(row["seconds"])))


if __name__ == "__main__":
    main()
