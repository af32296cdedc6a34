"""`postq up` keeps its workers running and drains them together."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from postq.cli.fleet.fleet import Fleet, Place

PLACES = tuple(Place(number=number, device="cpu", tag="0ddba11a") for number in (1, 2))

DRAINING = """
import pathlib, signal, sys
folder, number = pathlib.Path(sys.argv[1]), sys.argv[2]
def drain(*_):
    (folder / f"drained-{number}").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, drain)
(folder / f"ready-{number}").touch()
while True:
    signal.pause()
"""


def fleet(folder: Path, script: str, **more: Any) -> Fleet:
    """A fleet whose workers run `script` with the folder and their number."""
    return Fleet(
        places=PLACES,
        environment=os.environ,
        logs=folder / "logs",
        drain_seconds=20.0,
        command=lambda place: [sys.executable, "-c", script, str(folder), str(place.number)],
        first_pause_seconds=0.01,
        **more,
    )


def marks(folder: Path, name: str) -> int:
    return len(list(folder.glob(f"{name}-*")))


def test_when_all_is_idle_every_worker_is_drained_and_none_is_left(tmp_path: Path) -> None:
    fleet(tmp_path, DRAINING).run(until=lambda: marks(tmp_path, "ready") == 2)
    assert marks(tmp_path, "drained") == 2


def test_the_log_of_a_worker_is_another_for_each_database() -> None:
    names = [Place(number=1, device="cuda:0", tag=tag).log_name for tag in ("0ddba11a", "5eaf00d5")]
    assert names == ["worker-1-cuda0-0ddba11a.log", "worker-1-cuda0-5eaf00d5.log"]


def test_a_worker_that_crashes_is_started_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crashing = """
import pathlib, sys, uuid
(pathlib.Path(sys.argv[1]) / f"start{sys.argv[2]}-{uuid.uuid4()}").touch()
print("the reason of the crash", file=sys.stderr)
sys.exit(3)
"""
    fleet(tmp_path, crashing).run(
        until=lambda: marks(tmp_path, "start1") >= 3 and marks(tmp_path, "start2") >= 3
    )
    told = capsys.readouterr().err
    assert "worker 1 (cpu) ended with exit code 3; it starts again" in told
    assert "the reason of the crash" in told


def test_each_crash_waits_longer_than_the_one_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = Fleet(
        places=PLACES[:1],
        environment=os.environ,
        logs=tmp_path,
        drain_seconds=1.0,
        command=lambda _: [
            sys.executable,
            "-c",
            f"open({str(tmp_path)!r} + '/crash-' + str(__import__('time').time_ns()), 'w')",
        ],
        first_pause_seconds=0.1,
    )
    one.run(until=lambda: marks(tmp_path, "crash") >= 3)
    pauses = [
        line.split("again in ")[1] for line in capsys.readouterr().err.splitlines() if "again in" in line
    ]
    assert pauses[:2] == ["0.1 s.", "0.2 s."]


def test_a_worker_that_does_not_drain_is_killed_after_the_grace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("postq.cli.fleet.fleet.GRACE_SECONDS", 0.0)
    stubborn = DRAINING.replace("sys.exit(0)", "pass")
    stuck = fleet(tmp_path, stubborn)
    stuck.drain_seconds = 0.5
    stuck.run(until=lambda: marks(tmp_path, "ready") == 2)
    assert marks(tmp_path, "drained") == 2


HOST = """
import pathlib, sys
from tests.unit.cli.fleet.test_fleet import DRAINING, fleet
folder = pathlib.Path(sys.argv[1])
fleet(folder, DRAINING).run(until=(folder / "enough").exists)
"""


@pytest.fixture
def started(tmp_path: Path, repository: Path, wait_until: Callable[..., Any]) -> Iterator[Any]:
    """Starts a fleet in a process of its own and waits for both workers; kills it in the end."""
    processes: list[subprocess.Popen[str]] = []

    def start(**more: Any) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", HOST, str(tmp_path)]
        given = {"stderr": subprocess.PIPE, **more}
        processes.append(subprocess.Popen(command, cwd=repository, text=True, **given))
        wait_until(lambda: marks(tmp_path, "ready") == 2)
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def running_fleet(started: Callable[..., Any]) -> Any:
    """A fleet in a process of its own, both workers up."""
    return started()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_stop_drains_every_worker(
    tmp_path: Path, running_fleet: "subprocess.Popen[str]", sign: signal.Signals
) -> None:
    running_fleet.send_signal(sign)
    _, told = running_fleet.communicate(timeout=30)
    assert running_fleet.returncode == 0
    assert marks(tmp_path, "drained") == 2
    assert "Draining" in told


def test_a_terminal_that_hangs_up_twice_still_leaves_the_workers_time_to_drain(tmp_path: Path) -> None:
    def hang_up_twice() -> bool:
        for _ in range(2 if marks(tmp_path, "ready") == 2 else 0):
            signal.raise_signal(signal.SIGHUP)
        return False

    fleet(tmp_path, DRAINING).run(until=hang_up_twice)
    assert marks(tmp_path, "drained") == 2


def test_a_fleet_whose_terminal_is_gone_drains_its_workers_and_ends_well(
    tmp_path: Path, started: Callable[..., Any]
) -> None:
    ours, its = os.openpty()
    process = started(stderr=its)
    os.close(its)
    os.close(ours)
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=30) == 0
    assert marks(tmp_path, "drained") == 2


def test_under_nohup_the_end_of_a_session_does_not_stop_the_workers(
    tmp_path: Path, started: Callable[..., Any]
) -> None:
    process = started(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.send_signal(signal.SIGHUP)
    (tmp_path / "enough").touch()
    _, told = process.communicate(timeout=30)
    assert "All jobs have ended." in told
    assert "Draining" not in told


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells children of a dead parent")
def test_workers_drain_even_when_up_itself_is_killed(
    tmp_path: Path, running_fleet: "subprocess.Popen[str]", wait_until: Callable[..., Any]
) -> None:
    running_fleet.kill()
    wait_until(lambda: marks(tmp_path, "drained") == 2)


def test_the_message_is_one_sentence_for_each_worker(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fleet(tmp_path, textwrap.dedent(DRAINING)).run(until=lambda: marks(tmp_path, "ready") == 2)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines if "started" in line] == [
        "worker 1 (cpu) started",
        "worker 2 (cpu) started",
    ]
