"""One optimizer step: gradients summed per document, and what to do when numbers or memory fail."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import reduce
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from postq.counted import counted
from postq.errors import DeviceMemoryExhausted, LossNotFinite
from postq.learning.encoder.forward.calling import Batch, forward_logits, pool_pieces
from postq.learning.encoder.forward.compute import is_out_of_memory, release_memory
from postq.learning.encoder.steps.losses import plain_bce
from postq.learning.encoder.steps.state import Sums, TrainingState
from postq.learning.encoder.steps.workbench import Workbench
from postq.learning.longformer.transfer import send

MOST_DROPPED = 3
"""Documents a training may leave out because their loss is not a number; one more ends it."""

Indices = NDArray[np.int64]


class _NotFinite(Exception):
    def __init__(self, documents: Sequence[int]) -> None:
        super().__init__()
        self.documents = documents


@dataclass(frozen=True, slots=True, kw_only=True)
class Setback:
    """Why a window must be begun anew: on one rank at first, and then, agreed, on all."""

    not_finite: tuple[int, ...] | None = None
    """Documents whose loss or gradient is not a number; empty when none alone is at fault."""
    fitting_tokens: int | None = None
    """Tokens that micro-batches may have after memory ran out; 0 when one document alone was too much."""


def train_window(
    bench: Workbench,
    state: TrainingState,
    window: Indices,
    *,
    pause: Callable[[], None],
    report: Callable[[], None] = lambda: None,
) -> None:
    """Take one optimizer step over the documents `window`, resuming at `state.offset`.

    The ranks divide the window, and each cuts its part into micro-batches of at most `state.micro_tokens`
    tokens. Each document's gradient counts 1 / len(window) however it is cut, so batch 16 x 1 and 4 x 4 are
    the same step, and so are one rank and eight. Between micro-batches `report` is called, and, in a process
    alone, once a stop is asked for, `pause`, with gradients and state in agreement; it does not return.
    Raises LossNotFinite, or DeviceMemoryExhausted when one document alone is too much, on all ranks or none.
    """
    while True:
        kept = window[~np.isin(window, state.dropped)]
        mine = bench.ranks.share(kept, bench.examples.lengths)
        bench.ranks.seed_step(bench.recipe.seed, state.optimizer_steps)
        setback = _attempt(bench, state, mine, window_documents=len(kept), pause=pause, report=report)
        setback = _agree(bench, state, setback) or _sum_and_clip(bench, mine)
        if setback is None:
            break
        _recover(bench, state, setback)
        state.reopen_window()
        bench.optimizer.zero_grad(set_to_none=True)
    bench.optimizer.step()
    bench.scheduler.step()
    bench.optimizer.zero_grad(set_to_none=True)
    state.scheduler_steps += 1
    state.close_window()


def _attempt(
    bench: Workbench,
    state: TrainingState,
    mine: Indices,
    *,
    window_documents: int,
    pause: Callable[[], None],
    report: Callable[[], None],
) -> Setback | None:
    try:
        _accumulate(bench, state, mine, window_documents=window_documents, pause=pause, report=report)
    except _NotFinite as found:
        return Setback(not_finite=tuple(_loss_offenders(bench, found.documents)))
    except RuntimeError as exc:
        if not is_out_of_memory(exc):
            raise
        failed = _next_batch(bench, state, mine)
        tokens = sum(bench.examples.texts[i].length for i in failed)
        return Setback(fitting_tokens=max(1, tokens // 2) if len(failed) > 1 else 0)
    return None


def _accumulate(
    bench: Workbench,
    state: TrainingState,
    mine: Indices,
    *,
    window_documents: int,
    pause: Callable[[], None],
    report: Callable[[], None],
) -> None:
    """Run the window's remaining micro-batches. Losses are read back once, so the device is not held up."""
    pending: list[tuple[Indices, Tensor]] = []
    while state.offset < len(mine):
        batch = _next_batch(bench, state, mine)
        pending.append((batch, _backward(bench, batch, window_documents=window_documents)))
        state.offset += len(batch)
        stop = bench.ranks.alone and bench.hooks.should_stop()
        if stop or state.offset == len(mine):
            _read_losses(bench, state, pending)
            pending = []
        if stop:
            pause()
        report()


def _agree(bench: Workbench, state: TrainingState, setback: Setback | None) -> Setback | None:
    """One setback for all from every rank's own; without any, one sum of losses."""
    if bench.ranks.alone:
        return setback
    own = {"sums": asdict(state.open_sums), "setback": None if setback is None else asdict(setback)}
    heard = bench.ranks.tell(own)
    found = [Setback(**said["setback"]) for said in heard if said["setback"] is not None]
    if not found:
        state.open_sums = reduce(Sums.plus, (Sums(**said["sums"]) for said in heard))
        return None
    lists = [one.not_finite for one in found if one.not_finite is not None]
    rooms = [one.fitting_tokens for one in found if one.fitting_tokens is not None]
    return Setback(
        not_finite=tuple(sorted(chain.from_iterable(lists))) if lists else None,
        fitting_tokens=min(rooms, default=None),
    )


def _next_batch(bench: Workbench, state: TrainingState, kept: Indices) -> Indices:
    """As many of the next documents as the token budget holds; at least one."""
    lengths = [bench.examples.texts[i].length for i in kept[state.offset :]]
    count = max(1, int(np.searchsorted(np.cumsum(lengths), state.micro_tokens, side="right")))
    return kept[state.offset : state.offset + count]


def _backward(bench: Workbench, batch: Indices, *, window_documents: int) -> Tensor:
    """Add the batch's share of the window's mean gradient; (2, docs): optimised and plain losses."""
    losses, plain = _losses(bench, batch)
    (losses.sum() / window_documents).backward()  # type: ignore[no-untyped-call]
    return torch.stack([losses.detach(), plain])


def _losses(bench: Workbench, batch: Indices) -> tuple[Tensor, Tensor]:
    """(docs,) optimised and plain losses: the former holds the weighted one of the facet targets, the latter
    is the labels' alone and has no gradient.
    """
    texts = [bench.examples.texts[i] for i in batch]
    pieces = Batch(pieces=tuple(piece for text in texts for piece in text.pieces))
    rows = torch.from_numpy(batch)
    targets = send(bench.examples.targets[rows], bench.device)
    logits = forward_logits(bench.runs, pieces, precision=bench.recipe.precision)
    logits = pool_pieces(logits, [len(text.pieces) for text in texts], pooling=bench.pooling)
    logits, beside = logits[:, : targets.shape[1]], logits[:, targets.shape[1] :]
    losses = bench.loss(logits, targets).mean(dim=1)
    if bench.recipe.facet_loss:
        facets = send(bench.examples.facets[rows], bench.device)
        losses = losses + bench.recipe.facet_loss * plain_bce(beside, facets).mean(dim=1)
    with torch.no_grad():
        plain = plain_bce(logits, targets).mean(dim=1)
    return losses, plain


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


def _sum_and_clip(bench: Workbench, mine: Indices) -> Setback | None:
    """The window's gradient on every rank, clipped; the documents at fault if it has no norm."""
    bench.ranks.sum_gradients(bench.model)
    norm = clip_grad_norm_(bench.model.parameters(), bench.recipe.max_gradient_norm)
    if bool(torch.isfinite(norm)):
        return None
    heard = bench.ranks.tell({"offenders": _gradient_offenders(bench, mine)})
    return Setback(not_finite=tuple(chain.from_iterable(said["offenders"] for said in heard)))


def _loss_offenders(bench: Workbench, documents: Sequence[int]) -> list[int]:
    """Those of the documents whose loss alone is no number; all, when none is, as under dropout.

    Where several share a matrix product, one's NaN times the zero share of another's token is NaN too.
    """
    if len(documents) == 1:
        return [*documents]
    with torch.no_grad():
        losses = [_losses(bench, np.array([document]))[0] for document in documents]
    wrong = ~torch.isfinite(torch.cat(losses)).cpu().numpy()
    return [document for document, at_fault in zip(documents, wrong, strict=True) if at_fault] or [*documents]


def _gradient_offenders(bench: Workbench, mine: Indices) -> list[int]:
    """The documents whose own gradient is not finite, each tried alone."""
    offenders = []
    for document in mine:
        bench.optimizer.zero_grad(set_to_none=True)
        _backward(bench, np.array([document]), window_documents=1)
        norm = torch.nn.utils.get_total_norm([w.grad for w in bench.model.parameters() if w.grad is not None])
        if not bool(torch.isfinite(norm)):
            offenders.append(int(document))
    return offenders


def _recover(bench: Workbench, state: TrainingState, setback: Setback) -> None:
    """Leave out what is not a number, and make room; every rank does the same."""
    bench.optimizer.zero_grad(set_to_none=True)
    if setback.not_finite is not None:
        _drop(bench, state, setback.not_finite)
    if setback.fitting_tokens is not None:
        _shrink(bench, state, setback.fitting_tokens)


def _drop(bench: Workbench, state: TrainingState, documents: Sequence[int]) -> None:
    names = [bench.examples.names[i] for i in documents]
    if not documents or len(state.dropped) + len(documents) > MOST_DROPPED:
        raise LossNotFinite(
            f"The training loss is not a number in step {state.optimizer_steps + 1}, for "
            f"{counted(len(documents), 'document') if documents else 'no single document'}; "
            f"{counted(len(state.dropped), 'was', 'were')} left out before.",
            hint="Lower the learning rate, or look at the documents named in the job's events.",
        )
    state.dropped += documents
    bench.hooks.note(
        "NAN",
        f"The loss of {', '.join(names)} is not a number; training goes on without.",
        {"documents": names, "step": state.optimizer_steps + 1, "severity": "warning"},
    )


def _shrink(bench: Workbench, state: TrainingState, fitting_tokens: int) -> None:
    """Halve the micro-batch; of one document, trade time for memory; then give up."""
    release_memory(bench.device)
    if fitting_tokens:
        state.micro_tokens = fitting_tokens
        action = f"micro-batches of {counted(state.micro_tokens, 'token')} and more accumulation"
    elif not state.gradient_checkpointing and enable_gradient_checkpointing(bench):
        state.gradient_checkpointing = True
        action = "gradient checkpointing"
    else:
        raise DeviceMemoryExhausted(
            "One training document alone does not fit into the device's memory.",
            hint="Lower max_tokens, or use a device with more memory.",
        )
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
