"""What ranks do in tests of launching: functions that a new process can import."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import torch

from postq.learning.encoder.ranks import Ranks
from postq.learning.hooks import Hooks, StopRequested


def exchange_and_tell(ranks: Ranks, hooks: Hooks, folder: Path) -> None:
    """Use every call of the exchange, report over the line, then go on until asked to stop."""
    heard = ranks.tell({"rank": ranks.rank, "word": "x" * ranks.rank})
    numbers = ranks.sum_rows(np.full((1, 2), ranks.rank + 1, dtype=np.float32))
    model = torch.nn.Linear(2, 1)
    model.weight.grad = None if ranks.rank else torch.ones(1, 2)
    ranks.sum_gradients(model)
    assert model.weight.grad is not None
    facts: dict[str, Any] = {
        "heard": heard,
        "sum": numbers.tolist(),
        "gradient": model.weight.grad.tolist(),
        "bias": model.bias.grad,
        "threads": torch.get_num_threads(),
        "group": os.getpgid(0),
    }
    hooks.note("FACTS", "what came of it", facts)
    hooks.progress("training", 1, 2, {"loss": 0.5})
    hooks.checkpoint(folder, 7)
    while not ranks.any(hooks.should_stop()):
        pass
    raise StopRequested


def die_second(ranks: Ranks, hooks: Hooks) -> None:
    """Rank 1 is killed while the first waits for it."""
    del hooks
    if ranks.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    ranks.any(False)


def wait_for_ever(ranks: Ranks, hooks: Hooks, folder: Path) -> None:
    """Leave the process id, then meet again and again."""
    (folder / str(os.getpid())).touch()
    while not ranks.any(hooks.should_stop()):
        pass


def main(folder: str) -> None:
    """`python -m ... FOLDER`: two ranks that wait for ever."""
    from postq.learning.encoder.launch import run_ranks

    run_ranks(wait_for_ever, Path(folder), ranks=2, backend="gloo", hooks=Hooks())


if __name__ == "__main__":
    import sys

    main(sys.argv[1])
