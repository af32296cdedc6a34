"""A real runner: it answers in messages, dies with its supervisor, and takes its children with it."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from postq.contracts.failure import FailureClass
from postq.contracts.runner import BundleOnDisk, Failed, Progress, RunRequest
from postq.contracts.specs import ClassifySpec
from postq.worker.environment import runner_environment
from postq.worker.runner_process import Heard, RunnerExited, RunnerProcess
from tests.unit.worker.scene import CPU
from tests.waiting import wait_until

START_SECONDS = 60


@pytest.fixture
def environment() -> dict[str, str]:
    return runner_environment(CPU, threads=1)


@pytest.fixture
def runner(tmp_path: Path, environment: dict[str, str]) -> Iterator[RunnerProcess]:
    started = RunnerProcess.start(environment=environment, log=tmp_path / "logs" / "runner.log")
    yield started
    started.kill()


@pytest.fixture
def hopeless(tmp_path: Path) -> RunRequest:
    """A request whose bundle does not exist."""
    return RunRequest(
        job_id=1,
        shard_id=1,
        token=1,
        spec=ClassifySpec(corpus_id=1, bundle="1"),
        snapshot=tmp_path / "snapshot",
        start_row=0,
        stop_row=10,
        bundle=BundleOnDisk(bundle_id=1, path=tmp_path / "bundle", digest="0" * 64),
        device=CPU,
        output=tmp_path,
    )


def hear(runner: RunnerProcess) -> Heard:
    return runner.heard.get(timeout=START_SECONDS)


def last_word(runner: RunnerProcess) -> Heard:
    while isinstance(message := hear(runner), Progress):
        pass
    return message


def test_a_request_is_answered_and_the_runner_ready_for_the_next(
    runner: RunnerProcess, hopeless: RunRequest
) -> None:
    for _ in range(2):
        runner.begin(hopeless)
        word = last_word(runner)
        assert isinstance(word, Failed)
        assert word.failure is FailureClass.BAD_INPUT
        assert "is not a bundle folder" in word.message
    assert "An attempt begins." in runner.last_words()
    assert runner.alive()


def test_a_runner_leads_a_group_of_its_own(runner: RunnerProcess) -> None:
    assert os.getpgid(runner.pid) == runner.pid != os.getpgid(0)


def test_an_idle_runner_goes_when_it_is_let_go(runner: RunnerProcess) -> None:
    runner.retire()
    assert hear(runner) == RunnerExited(returncode=0)
    assert not runner.alive()


def test_a_killed_runner_is_told_of_and_a_request_to_it_is_no_error(
    runner: RunnerProcess, hopeless: RunRequest
) -> None:
    os.kill(runner.pid, signal.SIGKILL)
    assert hear(runner) == RunnerExited(returncode=-signal.SIGKILL)
    runner.begin(hopeless)
    runner.ask_to_stop()
    runner.terminate()
    runner.kill()
    assert not runner.alive()


def test_a_frozen_runner_can_be_killed(runner: RunnerProcess) -> None:
    os.kill(runner.pid, signal.SIGSTOP)
    runner.kill()
    assert hear(runner) == RunnerExited(returncode=-signal.SIGKILL)


def test_a_runner_ends_when_its_supervisor_is_gone_before_it_started(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    command = [sys.executable, "-m", "postq.worker.runner", "--parent", "1"]
    ended = subprocess.run(
        command, stdin=subprocess.PIPE, env=environment, start_new_session=True, timeout=START_SECONDS
    )
    assert ended.returncode == -signal.SIGKILL


RUN_WITH_A_CHILD = """
import subprocess, sys, time
from postq.tasks import kinds

def run(request, *, hooks, resident):
    print("a library prints to standard output")
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    hooks.progress("working", child.pid, 10**9, {})
    time.sleep(1000)

kinds.run = run
"""


@pytest.fixture
def with_a_child(tmp_path: Path, environment: dict[str, str]) -> dict[str, str]:
    """An environment whose runner starts a process of its own and then works for long."""
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(textwrap.dedent(RUN_WITH_A_CHILD))
    root = Path(__file__).resolve().parents[3]
    return {**environment, "PYTHONPATH": os.pathsep.join([str(hook), str(root)])}


def grandchild(runner: RunnerProcess, request: RunRequest) -> psutil.Process:
    runner.begin(request)
    message = hear(runner)
    assert isinstance(message, Progress), message
    return psutil.Process(message.done)


def test_a_runner_that_dies_takes_along_what_it_started(
    tmp_path: Path, with_a_child: dict[str, str], hopeless: RunRequest
) -> None:
    runner = RunnerProcess.start(environment=with_a_child, log=tmp_path / "runner.log")
    child = grandchild(runner, hopeless)
    os.kill(runner.pid, signal.SIGSEGV)
    assert hear(runner) == RunnerExited(returncode=-signal.SIGSEGV)
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 10)
    assert "a library prints to standard output" in runner.last_words()


def test_a_busy_runner_whose_pipe_closes_ends_with_all_it_started(
    tmp_path: Path, with_a_child: dict[str, str], hopeless: RunRequest
) -> None:
    runner = RunnerProcess.start(environment=with_a_child, log=tmp_path / "runner.log")
    child = grandchild(runner, hopeless)
    runner.retire()
    assert hear(runner) == RunnerExited(returncode=-signal.SIGKILL)
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, 10)


def test_a_line_that_is_no_message_ends_the_runner(
    tmp_path: Path, environment: dict[str, str], hopeless: RunRequest
) -> None:
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text("print('not a message', flush=True)\n")
    runner = RunnerProcess.start(
        environment={**environment, "PYTHONPATH": str(hook)}, log=tmp_path / "runner.log"
    )
    assert hear(runner) == RunnerExited(returncode=-signal.SIGKILL)


def test_a_large_log_is_begun_anew_and_the_last_one_kept(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "runner.log"
    log.write_bytes(b"old\n" * 100)
    monkeypatch.setattr("postq.worker.runner_process.LOG_BYTES", 100)
    runner = RunnerProcess.start(environment=environment, log=log)
    runner.retire()
    assert (tmp_path / "runner.old.log").read_bytes() == b"old\n" * 100
    assert b"old" not in log.read_bytes()
