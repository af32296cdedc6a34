"""Batches by token budget: which documents to run together, and how many tokens a device likes at once."""

from collections.abc import Sequence

from postq.errors import BadInput

BEST_TOKENS = {"cpu": 4_096, "cuda": 131_072, "mps": 16_384}
"""Tokens per batch. CPU and CUDA: measured (docs/performance.md); MPS: a starting point to measure. A GPU is
as fast with half as many, but a busy processor then may not start the kernels of a batch in time."""
TRAINING_TOKENS = {"cuda": 65_536}
"""The same where a batch is kept in memory for its gradients, if fewer."""


def best_token_budget(device: str, *, training: bool = False) -> int:
    """A good number of tokens per packed batch for a kind of device (`cpu`, `cuda`, `mps`)."""
    best = BEST_TOKENS.get(device, BEST_TOKENS["cpu"])
    return TRAINING_TOKENS.get(device, best) if training else best


def plan_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Group documents, given by their lengths in tokens, into batches of at most `budget` tokens.

    Longest first, so that a batch too large for memory shows at once, and documents of like length share a
    batch. A document longer than the budget is a batch of its own. Returns indices into `lengths`; equal
    input, equal plan. Raises BadInput for a budget or a length that is not positive.
    """
    if budget < 1 or min(lengths, default=1) < 1:
        raise BadInput(
            "Token budgets and document lengths must be positive.",
            hint="Set documents without tokens aside before planning batches.",
        )
    batches: list[list[int]] = []
    room = 0
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if lengths[index] > room:
            batches.append([])
            room = max(budget, lengths[index])
        batches[-1].append(index)
        room -= lengths[index]
    return batches
