"""What ranks do in tests of launching: functions that a new process can import."""

import logging
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import torch

from postq.learning.encoder.ranks.agreement import Ranks
from postq.learning.hooks import Hooks, StopRequested
from postq.logs import configure_logging
from postq.settings import load_settings

SECRET_URL = "postgresql://postq:open-sesame@db/postq"


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


def log_and_fail(ranks: Ranks, hooks: Hooks) -> None:
    """Log below and above the level of warnings, then end with a secret on the lips."""
    del hooks
    structlog.get_logger().info("not worth a line")
    structlog.get_logger().warning("a word of a rank", url=SECRET_URL)
    logging.getLogger("torch.distributed").warning("a word of torch about %s", SECRET_URL)
    if ranks.tell(ranks.rank) and ranks.rank == 1:
        raise ValueError(f"cannot reach {SECRET_URL}")
    ranks.any(False)


def fail_loudly() -> None:
    """As a runner: log as the settings say, and have two ranks of which one fails."""
    from postq.learning.encoder.ranks.launch import run_ranks

    configure_logging(load_settings(), component="runner")
    with suppress(RuntimeError):
        run_ranks(log_and_fail, ranks=2, backend="gloo", hooks=Hooks(), within=load_settings().home)


def main(folder: str) -> None:
    """`python -m ... FOLDER`: two ranks that wait for ever, and what they write below `FOLDER/below`."""
    from postq.learning.encoder.ranks.launch import run_ranks

    place = Path(folder)
    below = place / "below"
    below.mkdir()
    run_ranks(wait_for_ever, place, ranks=2, backend="gloo", hooks=Hooks(), within=below)


if __name__ == "__main__":
    import sys

    main(sys.argv[1])
