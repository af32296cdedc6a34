"""One optimizer step: gradients summed per document, and what to do when numbers or memory fail."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from postq.errors import DeviceMemoryExhausted, LossNotFinite
from postq.learning.encoder.compute import is_out_of_memory, release_memory
from postq.learning.encoder.forward import Batch, forward_logits, pool_pieces
from postq.learning.encoder.losses import plain_bce
from postq.learning.encoder.state import Sums, TrainingState
from postq.learning.encoder.workbench import Workbench

MOST_DROPPED = 3
"""Documents a training may leave out because their loss is not a number; one more ends it."""

Indices = NDArray[np.int64]


class _NotFinite(Exception):
    def __init__(self, documents: Sequence[int]) -> None:
        super().__init__()
        self.documents = documents


def train_window(
    bench: Workbench,
    state: TrainingState,
    window: Indices,
    *,
    pause: Callable[[], None],
    report: Callable[[], None] = lambda: None,
) -> None:
    """Take one optimizer step over the documents `window`, resuming at `state.offset`.

    The window is cut into micro-batches of at most `state.micro_tokens` tokens. Each document's gradient
    counts 1 / len(window) however it is cut, so batch 16 x 1 and 4 x 4 are the same step. Between
    micro-batches `report` is called, and, once a stop is asked for, `pause`, with gradients and state in
    agreement; it does not return. Raises LossNotFinite, or DeviceMemoryExhausted when one document alone is
    too much.
    """
    while True:
        kept = window[~np.isin(window, state.dropped)]
        try:
            _accumulate(bench, state, kept, pause=pause, report=report)
            _clip(bench, kept)
            break
        except _NotFinite as found:
            _drop(bench, state, found.documents)
        except RuntimeError as exc:
            if not is_out_of_memory(exc):
                raise
            _shrink(bench, state, kept, cause=exc)
        state.reopen_window()
        bench.optimizer.zero_grad(set_to_none=True)
    bench.optimizer.step()
    bench.scheduler.step()
    bench.optimizer.zero_grad(set_to_none=True)
    state.scheduler_steps += 1
    state.close_window()


def _accumulate(
    bench: Workbench,
    state: TrainingState,
    kept: Indices,
    *,
    pause: Callable[[], None],
    report: Callable[[], None],
) -> None:
    """Run the window's remaining micro-batches. Losses are read back once, so the device is not held up."""
    pending: list[tuple[Indices, Tensor]] = []
    while state.offset < len(kept):
        batch = _next_batch(bench, state, kept)
        pending.append((batch, _backward(bench, batch, window_documents=len(kept))))
        state.offset += len(batch)
        stop = bench.hooks.should_stop()
        if stop or state.offset == len(kept):
            _read_losses(bench, state, pending)
            pending = []
        if stop:
            pause()
        report()


def _next_batch(bench: Workbench, state: TrainingState, kept: Indices) -> Indices:
    """As many of the next documents as the token budget holds; at least one."""
    lengths = [bench.examples.texts[i].length for i in kept[state.offset :]]
    count = max(1, int(np.searchsorted(np.cumsum(lengths), state.micro_tokens, side="right")))
    return kept[state.offset : state.offset + count]


def _backward(bench: Workbench, batch: Indices, *, window_documents: int) -> Tensor:
    """Add the batch's share of the window's mean gradient; (2, docs): optimised and plain losses."""
    texts = [bench.examples.texts[i] for i in batch]
    pieces = Batch(pieces=tuple(piece for text in texts for piece in text.pieces))
    logits = forward_logits(bench.runs, pieces)
    logits = pool_pieces(logits, [len(text.pieces) for text in texts], pooling=bench.pooling)
    targets = bench.examples.targets[torch.from_numpy(batch)].to(bench.device)
    losses = bench.loss(logits, targets).mean(dim=1)
    (losses.sum() / window_documents).backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        plain = plain_bce(logits, targets).mean(dim=1)
    return torch.stack([losses.detach(), plain])


def _read_losses(bench: Workbench, state: TrainingState, pending: list[tuple[Indices, Tensor]]) -> None:
    batches = np.concatenate([batch for batch, _ in pending])
    losses = torch.cat([values for _, values in pending], dim=1).double().cpu().numpy()
    wrong = ~np.isfinite(losses).all(axis=0)
    if wrong.any():
        raise _NotFinite([int(i) for i in batches[wrong]])
    state.open_sums = state.open_sums.plus(
        Sums(
            loss=float(losses[0].sum()),
            plain_loss=float(losses[1].sum()),
            documents=len(batches),
            tokens=sum(bench.examples.texts[i].length for i in batches),
        )
    )


def _clip(bench: Workbench, kept: Indices) -> None:
    norm = clip_grad_norm_(bench.model.parameters(), bench.recipe.max_gradient_norm)
    if not bool(torch.isfinite(norm)):
        raise _NotFinite(_gradient_offenders(bench, kept))


def _gradient_offenders(bench: Workbench, kept: Indices) -> list[int]:
    """The documents whose own gradient is not finite, each tried alone."""
    offenders = []
    for document in kept:
        bench.optimizer.zero_grad(set_to_none=True)
        _backward(bench, np.array([document]), window_documents=1)
        norm = torch.nn.utils.get_total_norm([w.grad for w in bench.model.parameters() if w.grad is not None])
        if not bool(torch.isfinite(norm)):
            offenders.append(int(document))
    return offenders


def _drop(bench: Workbench, state: TrainingState, documents: Sequence[int]) -> None:
    names = [bench.examples.names[i] for i in documents]
    if not documents or len(state.dropped) + len(documents) > MOST_DROPPED:
        raise LossNotFinite(
            f"The training loss is not a number in step {state.optimizer_steps + 1}, for "
            f"{len(documents) or 'no single'} documents; {len(state.dropped)} were left out before.",
            hint="Lower the learning rate, or look at the documents named in the job's events.",
        )
    state.dropped += documents
    bench.hooks.note(
        "NAN",
        f"The loss of {', '.join(names)} is not a number; training goes on without.",
        {"documents": names, "step": state.optimizer_steps + 1, "severity": "warning"},
    )


def _shrink(bench: Workbench, state: TrainingState, kept: Indices, *, cause: BaseException) -> None:
    """Halve the micro-batch; of one document, trade time for memory; then give up."""
    bench.optimizer.zero_grad(set_to_none=True)
    release_memory(bench.device)
    failed = _next_batch(bench, state, kept)
    if len(failed) > 1:
        tokens = sum(bench.examples.texts[i].length for i in failed)
        state.micro_tokens = max(1, tokens // 2)
        action = f"micro-batches of {state.micro_tokens:,} tokens and more accumulation"
    elif not state.gradient_checkpointing and enable_gradient_checkpointing(bench):
        state.gradient_checkpointing = True
        action = "gradient checkpointing"
    else:
        raise DeviceMemoryExhausted(
            "One training document alone does not fit into the device's memory.",
            hint="Lower max_tokens, or use a device with more memory.",
        ) from cause
    bench.hooks.note(
        "OUT_OF_MEMORY",
        f"The device ran out of memory; training goes on with {action}. The effective batch stays the same.",
        {"micro_tokens": state.micro_tokens, "checkpointing": state.gradient_checkpointing},
    )


def enable_gradient_checkpointing(bench: Workbench) -> bool:
    """Recompute activations in the backward pass; False where the model cannot."""
    model: Any = bench.model
    if not getattr(model, "supports_gradient_checkpointing", False):
        return False
    # transformers 5.23 deprecates the older name, 5.17 knows no other; both default to non-reentrant.
    newer = getattr(model, "activation_checkpointing_enable", None)
    (newer or model.gradient_checkpointing_enable)()
    return True
