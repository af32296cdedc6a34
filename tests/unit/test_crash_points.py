"""Crash points do nothing unless asked, and then end exactly one process at exactly one moment."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from postq.crash_points import AT_VARIABLE, ONCE_VARIABLE, SIGNAL_VARIABLE, CrashPoint, reach

PROGRAM = """
from postq.crash_points import CrashPoint, reach
for number in range(3):
    reach(CrashPoint.AFTER_CLAIM)
    print(number, flush=True)
"""


def run(**environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, timeout=60
    )


def test_without_the_variable_nothing_happens() -> None:
    for point in CrashPoint:
        reach(point)


def test_another_point_does_not_end_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(AT_VARIABLE, CrashPoint.BEFORE_COMMIT)
    reach(CrashPoint.AFTER_COMMIT)


def test_the_named_point_kills_without_a_trace() -> None:
    ended = run(**{AT_VARIABLE: "after-claim"})
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGKILL, "", "")


def test_the_second_time_can_be_asked_for() -> None:
    ended = run(**{AT_VARIABLE: "after-claim:2"})
    assert (ended.returncode, ended.stdout) == (-signal.SIGKILL, "0\n")


def test_only_the_first_process_dies_with_a_once_file(tmp_path: Path) -> None:
    asked = {AT_VARIABLE: "after-claim", ONCE_VARIABLE: str(tmp_path / "died")}
    assert run(**asked).returncode == -signal.SIGKILL
    assert run(**asked).returncode == 0


def test_a_point_can_freeze_instead_of_kill() -> None:
    asked = {AT_VARIABLE: "after-claim", SIGNAL_VARIABLE: "STOP"}
    process = subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, env=asked)
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    process.send_signal(signal.SIGCONT)
    assert process.communicate(timeout=60)[0] == b"0\n1\n2\n"
