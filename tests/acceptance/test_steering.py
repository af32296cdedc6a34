"""Following and steering jobs from a terminal: waiting, Ctrl-C, cancelling, and workers that are killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.user import User


@pytest.fixture
def owner(user: User, corpus_file: Callable[..., Path]) -> User:
    """A user with a small labelled corpus and no worker."""
    user.runs("corpus", "add", "subjects", corpus_file())
    return user


@pytest.fixture
def waiting(owner: User, tmp_path: Path, wait_until: Callable[..., Any]) -> Iterator["subprocess.Popen[str]"]:
    """`submit-train --wait` in another terminal, its job ready and no worker to take it."""
    told = tmp_path / "told"
    with told.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "postq", "submit-train", "subjects", "--preset", "tfidf", "--wait"],
            env=owner.environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=stream,
            text=True,
        )
    try:
        wait_until(lambda: "job 1: ready" in told.read_text())
        yield process
    finally:
        process.kill()
        process.communicate()


def test_ctrl_c_while_waiting_leaves_the_job_and_says_how_to_find_it_again(
    owner: User, waiting: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(timeout=60) == 130
    told = (tmp_path / "told").read_text()
    assert "no worker is running: start one with `postq up`" in told
    assert "job 1 goes on without this terminal" in told
    assert "postq status 1" in told
    assert "Traceback" not in told
    assert owner.asks("status", 1)["state"] == "ready"


def test_waiting_for_a_job_that_is_cancelled_ends_with_eleven(
    owner: User, waiting: "subprocess.Popen[str]"
) -> None:
    assert owner.runs("cancel", 1).err == "Job 1 is cancelled.\n"
    assert waiting.wait(timeout=60) == 11
    assert waiting.stdout is not None
    assert "Job 1 · train · cancelled" in waiting.stdout.read()
    assert json.loads(owner.runs("retry", 1, "--json").out) == {"job": 1, "state": "ready"}


def test_up_restarts_a_killed_worker_and_the_job_is_done_all_the_same(
    owner: User, wait_until: Callable[..., Any]
) -> None:
    with owner.working():
        first = wait_until(lambda: pid_of_living_worker(owner), 90)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: pid_of_living_worker(owner) not in (None, first), 90)
        owner.runs("submit-train", "subjects", "--preset", "tfidf", "--wait")
    assert "was killed by SIGKILL; it starts again" in (owner.home / "up.log").read_text()


def pid_of_living_worker(owner: User) -> int | None:
    """From the health check, as a container's runtime would run it."""
    answer = owner.tries("worker", "--ping")
    return int(answer.out.rsplit(" ", 1)[1]) if answer.code == 0 else None


def test_up_until_idle_tells_what_runs_does_what_is_there_and_ends(
    owner: User, tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    trained = owner.submits("submit-train", "subjects", "--preset", "tfidf")
    owner.submits("submit-eval", "subjects", "--bundle", f"job:{trained}", "--after", trained)
    stopping = owner.with_settings(
        crash_at="before-result", crash_signal="STOP", crash_once=str(tmp_path / "stopped")
    )
    with stopping.leaves("up", "--until-idle", "--cpu-workers", 1, log="idle.log") as up:
        stopped = wait_until(lambda: stopped_below(up), 90)
        wait_until(lambda: "job 1: running: " in (owner.home / "idle.log").read_text())
        stopped.resume()
        assert up.wait(timeout=90) == 0
    told = (owner.home / "idle.log").read_text().splitlines()
    assert told[-1] == "All jobs have ended."
    assert told.index("job 1: succeeded: all work done") < told.index("job 2: succeeded: all work done")
    assert [job["state"] for job in owner.asks("status")] == ["succeeded", "succeeded"]


def stopped_below(up: "subprocess.Popen[str]") -> psutil.Process | None:
    """The process of `up` that stands still, as it was asked to."""
    for process in psutil.Process(up.pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.status() == psutil.STATUS_STOPPED:
                return process
    return None


def test_a_job_that_no_living_worker_fits_says_what_it_waits_for(owner: User) -> None:
    owner.submits(
        "submit-train", "subjects", "--preset", "tfidf", "--device-kind", "cuda", "--memory", "20GB"
    )
    (job,) = owner.asks("status")
    assert job["reason"] == "waits for a cuda worker with 20 GB: no worker is running"
    assert "cuda device with 20 GB" in owner.runs("status", 1).out
