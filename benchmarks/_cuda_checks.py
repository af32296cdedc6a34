"""Whether the CUDA kernels are right: logits, gradients and bfloat16 errors beside stock's, at base size."""

import copy
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from benchmarks._longformer import base_model, documents, packed
from postq.learning.longformer import accelerate

Row = dict[str, Any]
KERNELS = ("triton", "sdpa")
BFLOAT16 = torch.bfloat16


def checks() -> list[Row]:
    """Logits and gradients of every kernel against stock, and bfloat16 errors against stock's own."""
    model = base_model(layers=3, dropout=0.0).cuda()
    streams = {"mixed": [1, 2, 300, 700, 1_500, 4_096], "short": [7, 20, 130] * 20, "one": [1_025]}
    rows = [
        checked(f"float32 logits, {name}", kernel, partial(float32_error, model, kernel, lengths))
        for name, lengths in streams.items()
        for kernel in KERNELS
    ]
    rows += [
        checked("float32 gradients", kernel, partial(gradient_error, model, kernel, [1, 300, 1_500]))
        for kernel in KERNELS
    ]
    for kernel in KERNELS:
        rows += [checked("bfloat16 states", kernel, partial(bfloat16_error, model, kernel, [2, 300, 1_500]))]
        rows += [
            checked(
                "bfloat16 gradients", kernel, partial(bfloat16_gradient_error, model, kernel, [2, 300, 1_500])
            )
        ]
    return rows


def checked(name: str, kernel: str, measure: Callable[[], tuple[float, float]]) -> Row:
    """One row: the error found and its limit; a kernel that raises has failed as one that errs has."""
    try:
        found, limit = measure()
    except Exception as exc:
        traceback.print_exc()
        return {"check": name, "kernel": kernel, "found": type(exc).__name__, "limit": "", "passed": False}
    return {
        "check": name,
        "kernel": kernel,
        "found": f"{found:.2e}",
        "limit": f"{limit:.2e}",
        "passed": found <= limit,
    }


def failed(rows: Sequence[Row]) -> list[Row]:
    """The checks that did not pass."""
    return [row for row in rows if not row["passed"]]


def float32_error(model: Any, kernel: str, lengths: Sequence[int]) -> tuple[float, float]:
    """Largest difference of float32 logits from stock's, and 1e-4."""
    docs = documents(lengths)
    with torch.inference_mode():
        stock = torch.cat([model(doc[None].cuda()).logits for doc in docs])
        ours = accelerate(model, attention=kernel).forward_packed(*packed(docs))
    return float((ours - stock).abs().max()), 1e-4


def gradient_error(model: Any, kernel: str, lengths: Sequence[int]) -> tuple[float, float]:
    """Distance of float32 gradients from stock's as a share of their norm, and 1e-4."""
    docs = documents(lengths)
    stock = gradient(model, lambda: torch.cat([model(doc[None].cuda()).logits for doc in docs]))
    fast = accelerate(model, attention=kernel)
    ours = gradient(model, lambda: fast.forward_packed(*packed(docs)))
    return float((ours - stock).norm() / stock.norm()), 1e-4


def bfloat16_error(model: Any, kernel: str, lengths: Sequence[int]) -> tuple[float, float]:
    """Distance of bfloat16 hidden states from float32 ones, and 1.1 times that of stock's."""
    docs, half = documents(lengths), copy.deepcopy(model).to(BFLOAT16)
    with torch.inference_mode():
        truth = torch.cat([stock_hidden(model, doc) for doc in docs])
        stock = torch.cat([stock_hidden(half, doc) for doc in docs])
        ours = accelerate(half, attention=kernel).hidden_packed(*packed(docs))
    limit = float((stock - truth).norm() / truth.norm())
    return float((ours - truth).norm() / truth.norm()), 1.1 * limit


def bfloat16_gradient_error(model: Any, kernel: str, lengths: Sequence[int]) -> tuple[float, float]:
    """The same of gradients, which the log-sum-exp trap would spoil."""
    docs, half = documents(lengths), copy.deepcopy(model).to(BFLOAT16)
    truth = gradient(model, lambda: torch.cat([model(doc[None].cuda()).logits for doc in docs]))
    stock = gradient(half, lambda: torch.cat([half(doc[None].cuda()).logits for doc in docs]))
    ours = gradient(half, lambda: accelerate(half, attention=kernel).forward_packed(*packed(docs)))
    limit = float((stock - truth).norm() / truth.norm())
    return float((ours - truth).norm() / truth.norm()), 1.1 * limit


def stock_hidden(model: Any, doc: torch.Tensor) -> torch.Tensor:
    """(tokens, hidden) stock states of one document, its first token global."""
    marks = torch.zeros(1, len(doc), dtype=torch.long).cuda()
    marks[0, 0] = 1
    return model.longformer(doc[None].cuda(), global_attention_mask=marks).last_hidden_state[0]


def gradient(model: Any, logits: Callable[[], torch.Tensor]) -> torch.Tensor:
    """All gradients of a fixed random weighting of the logits, as one float32 vector."""
    model.zero_grad()
    answer = logits().float()
    weights = torch.randn(answer.shape, generator=torch.Generator().manual_seed(4)).cuda()
    (answer * weights).sum().backward()
    return torch.cat(
        [weight.grad.float().flatten() for weight in model.parameters() if weight.grad is not None]
    )
