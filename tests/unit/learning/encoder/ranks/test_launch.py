"""Ranks as real processes: they meet over gloo, speak through the first, and end together."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch

from postq.errors import NotTrainable, RankLost
from postq.learning.encoder.ranks.launch import cause_of, run_ranks, write_error
from postq.learning.hooks import Hooks, StopRequested
from postq.worker.failures import failure_class
from tests.unit.learning.encoder.ranks import rank_work
from tests.waiting import wait_until


def test_ranks_exchange_report_through_the_first_and_stop_when_asked(tmp_path: Path) -> None:
    told: list[Any] = []
    hooks = Hooks(
        progress=lambda *values: told.append(values),
        note=lambda event, message, data: told.append((event, data)),
        checkpoint=lambda *values: told.append(values),
        should_stop=lambda: (tmp_path, 7) in told,
    )
    with pytest.raises(StopRequested):
        run_ranks(
            rank_work.exchange_and_tell, tmp_path, ranks=2, backend="gloo", hooks=hooks, within=tmp_path
        )
    assert list(tmp_path.iterdir()) == []
    assert told[1:] == [("training", 1, 2, {"loss": 0.5}), (tmp_path, 7)]
    event, facts = told[0]
    assert event == "FACTS"
    assert facts["heard"] == [{"rank": 0, "word": ""}, {"rank": 1, "word": "x"}]
    assert facts["sum"] == [[3.0, 3.0]]
    assert facts["gradient"] == [[1.0, 1.0]]
    assert facts["bias"] is None
    assert facts["threads"] == 1
    assert facts["group"] == os.getpgid(0)


def test_a_rank_that_is_killed_ends_all_and_is_named(tmp_path: Path) -> None:
    others = _spawned()
    with pytest.raises(RankLost, match="Rank 1 of a training in 2 processes was ended by signal 9") as lost:
        run_ranks(rank_work.die_second, ranks=2, backend="gloo", hooks=Hooks(), within=tmp_path)
    assert lost.value.returncode == -signal.SIGKILL
    assert not any(map(_alive, set(_spawned()) - set(others)))


class Ended:
    """What the launcher says of a rank that ended in an exception."""

    def get_first_failure(self) -> tuple[int, Any]:
        return 1, SimpleNamespace(exitcode=1)


@pytest.mark.parametrize(
    ("raised", "again", "message"),
    [
        (NotTrainable("No labels.", hint="Add some."), NotTrainable, "No labels."),
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), RuntimeError, "CUDA out of memory. Tried"),
        (ValueError("a fault of ours"), RuntimeError, "ValueError: a fault of ours"),
    ],
)
def test_what_a_rank_raises_is_raised_where_it_was_started(
    raised: Exception, again: type[Exception], message: str, tmp_path: Path
) -> None:
    write_error(tmp_path, 1, raised)
    found = cause_of(Ended(), tmp_path, ranks=2)
    assert type(found) is again
    assert message in str(found)
    assert failure_class(found) is failure_class(raised)


def test_ranks_log_as_the_settings_say_and_keep_secrets(tmp_path: Path) -> None:
    program = "from tests.unit.learning.encoder.ranks import rank_work; rank_work.fail_loudly()"
    chosen = {"POSTQ_LOG_FORMAT": "json", "POSTQ_LOG_LEVEL": "warning", "POSTQ_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **chosen},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    spoken = {(line["component"], line["event"]) for line in lines}
    for rank in ("rank 0", "rank 1"):
        assert (rank, "a word of a rank") in spoken
        assert (rank, "a word of torch about postgresql://postq:***@db/postq") in spoken
    told = next(line for line in lines if line["event"] == "A rank of the training failed.")
    assert (told["component"], told["rank"]) == ("runner", 1)
    assert "cannot reach postgresql://postq:***@db/postq" in told["exception"]
    assert "open-sesame" not in done.stderr + done.stdout
    assert "not worth a line" not in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's tie to a parent is Linux's")
def test_ranks_do_not_outlive_a_process_that_is_killed_nor_leave_files_elsewhere(tmp_path: Path) -> None:
    place, usual = tmp_path / "place", tmp_path / "usual"
    place.mkdir()
    usual.mkdir()
    command = [sys.executable, "-m", "tests.unit.learning.encoder.ranks.rank_work", str(place)]
    environment = {**os.environ, "TMPDIR": str(usual)}
    parent = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)

    def present() -> list[int]:
        return [int(path.name) for path in place.iterdir() if path.name.isdigit()]

    try:
        wait_until(lambda: len(present()) == 2, 120)
        ranks = [psutil.Process(number) for number in present()]
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not any(map(_alive, ranks)))
    assert list(usual.iterdir()) == []
    assert list((place / "below").iterdir())


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _spawned() -> list[psutil.Process]:
    """Children that multiprocessing started, for whatever test; its own tracker is not among them."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "spawn_main" in " ".join(child.cmdline()):
                found.append(child)
    return found
