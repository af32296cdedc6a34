"""How exact the fast Longformer is on a CPU: errors against float64, and logits against stock.

`python -m benchmarks.longformer_exactness` records the table (some minutes); `--quick` tries the script, with
too few layers, tokens and seeds to quote. Nothing is timed. Attention is sharpened by scaling the weights of
queries and keys: the sharper the softmax, the more it makes of any rounding. Ways that this machine does not
have, the compiled kernel and the compiled products, are left out.
"""

import argparse
import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import LongformerForSequenceClassification

from benchmarks._longformer import base_model, documents, products_by
from benchmarks.recording import record
from postq.learning.longformer import AttentionName, accelerate, fastest_threads
from postq.learning.longformer.native import why_no_native
from postq.learning.longformer.products import packing_works

Row = dict[str, Any]
SHARPNESS = (1.0, 4.0, 8.0, 12.0)
CLASSIFIER = 5.0
"""The classifier's weights are scaled by this: fresh ones give logits too small to differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a model made of one document."""

    hidden: Tensor
    """(tokens, hidden)"""
    logits: Tensor
    """(1, labels)"""


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 layers, 300 tokens, 2 degrees, 1 seed")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=1_100)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, help="default: the count that multiplies fastest now")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads or fastest_threads())
    layers, tokens, seeds = (2, 300, 1) if asked.quick else (asked.layers, asked.tokens, asked.seeds)
    rows = [
        {"query and key weights ×": sharpness, "seed": seed, **row}
        for sharpness in ((1.0, 8.0) if asked.quick else SHARPNESS)
        for seed in range(seeds)
        for row in rows_of(sharpened(sharpness, layers=layers, seed=seed), documents([tokens])[0])
    ]
    keep("longformer_exactness" + ("_quick" if asked.quick else ""), rows, layers=layers, tokens=tokens)


@torch.no_grad()
def sharpened(sharpness: float, *, layers: int, seed: int) -> LongformerForSequenceClassification:
    """A base-size classifier whose softmax picks the fewer tokens the higher `sharpness`."""
    model = base_model(layers=layers, seed=seed)
    for name, weight in model.named_parameters():
        if ".query" in name or ".key" in name:
            weight.mul_(sharpness)
        if name.startswith("classifier"):
            weight.mul_(CLASSIFIER)
    return model


@torch.inference_mode()
def rows_of(model: LongformerForSequenceClassification, doc: Tensor) -> list[Row]:
    """One row for each kernel and each kind of products that this machine has."""
    truth, stock = by_stock(copy.deepcopy(model).double(), doc), by_stock(model, doc)
    rows: list[Row] = []
    for attention in attentions():
        plain = by_postq(model, doc, attention=attention, way="plain")
        rows.append({"attention": attention, "products": "plain", **errors(plain, stock, truth)})
        if packing_works():
            other = by_postq(model, doc, attention=attention, way="packed")
            row = {"attention": attention, "products": "packed", **errors(other, stock, truth)}
            same = torch.equal(other.hidden, plain.hidden) and torch.equal(other.logits, plain.logits)
            rows.append(row | {"bits of plain products": "equal" if same else "different"})
    return rows


def attentions() -> list[AttentionName]:
    """Torch's flash kernel in blocks, and the compiled kernel where there is one."""
    return ["sdpa"] if why_no_native() else ["sdpa", "native"]


def by_stock(model: LongformerForSequenceClassification, doc: Tensor) -> Answer:
    """The stock model's answer, in its own number format, to the unpadded document."""
    marks = torch.zeros(1, len(doc), dtype=torch.long)
    marks[0, 0] = 1
    hidden = model.longformer(doc[None], global_attention_mask=marks).last_hidden_state[0]
    return Answer(hidden=hidden, logits=model(doc[None]).logits)


def by_postq(
    model: LongformerForSequenceClassification, doc: Tensor, *, attention: AttentionName, way: str
) -> Answer:
    """The fast model's answer through one kernel and one kind of products."""
    fast = accelerate(model, attention=attention)
    if fast.choice.attention != attention:
        raise SystemExit("POSTQ_ATTENTION forces one kernel. Unset it: all of them are measured here.")
    stream = doc, [0, len(doc)]
    with products_by(way):
        return Answer(hidden=fast.hidden_packed(*stream), logits=fast.forward_packed(*stream))


def errors(found: Answer, stock: Answer, truth: Answer) -> Row:
    """Those of hidden states as root mean squares, those of logits at their largest."""
    ours, its = (_root_mean_square(one.hidden, truth.hidden) for one in (found, stock))
    return {
        "error of hidden states ÷ stock's": round(ours / its, 3),
        "logits against stock": _largest(found.logits, stock.logits),
        "logits against float64": _largest(found.logits, truth.logits),
        "stock's against float64": _largest(stock.logits, truth.logits),
    }


def _root_mean_square(found: Tensor, truth: Tensor) -> float:
    return float((found.double() - truth).square().mean().sqrt())


def _largest(found: Tensor, truth: Tensor) -> float:
    return float(f"{(found.double() - truth.double()).abs().max():.2g}")


def keep(name: str, rows: list[Row], *, layers: int, tokens: int) -> None:
    """Record the table, and say what this machine could not give."""
    method = (
        f"One document of {tokens:,} random tokens, base size with {layers} layers, random weights, those "
        f"of the classifier × {CLASSIFIER:g}, those of queries and keys × the first column. The truth is "
        "stock in float64; errors of hidden states are root mean squares over all tokens, of logits the "
        "largest."
    )
    if why_not := why_no_native():
        method += f" No compiled attention here: {why_not}."
    if not packing_works():
        method += " No compiled products here: torch's own alone."
    parameters = {"layers": layers, "tokens": tokens, "threads": torch.get_num_threads()}
    record(name, rows, method=method, parameters=parameters)


if __name__ == "__main__":
    main()
