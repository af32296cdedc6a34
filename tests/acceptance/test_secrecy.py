"""Passwords show up nowhere, and what postq writes is closed to other users, whoever's umask it meets."""

import contextlib
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.acceptance.corpora import write_corpus
from tests.acceptance.user import User
from tests.faults.servers import PrivateRedis, free_port, running

PASSWORD = "hunter2-and-then-some"
pytestmark = pytest.mark.slow


def told_by(home: Path) -> str:
    """Everything in the logs."""
    return "".join(path.read_text(errors="replace") for path in home.rglob("*.log"))


@pytest.fixture
def locked_redis(tmp_path: Path) -> Iterator[str]:
    """URL of a Redis that wants a password."""
    server = PrivateRedis(tmp_path)
    with running(server):
        with server.client() as client:
            client.config_set("requirepass", PASSWORD)
        yield server.url.replace("redis://", f"redis://:{PASSWORD}@")


@pytest.mark.redis
@pytest.mark.postgres
def test_no_password_shows_in_processes_logs_doctor_or_errors(
    user: User, locked_redis: str, postgres_url: str, wait_until: Callable[..., Any]
) -> None:
    # Given a database and a broker with passwords, one of them given as a flag
    database = postgres_url.replace("postgres@", f"postgres:{PASSWORD}@")
    secretive = user.with_settings(database_url=database, log_level="debug")
    flag = ("--broker-url", locked_redis)
    secretive.runs("db", "upgrade")
    with (user.home.parent / "up.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "postq", "up", "--cpu-workers", "1"],
            env={**secretive.environment, "POSTQ_BROKER_URL": locked_redis},
            stdout=log,
            stderr=log,
        )
    # When a worker and its runner live
    try:
        secretive.runs("corpus", "add", "subjects", write_corpus(user.home.parent / "corpus.jsonl"))
        secretive.runs(*flag, "submit-train", "subjects", "--preset", "tfidf")
        shown = wait_until(lambda: _with_a_runner(process.pid), 90, saying="a runner to be started")
        answers = [secretive.runs(*flag, *words) for words in (("doctor",), ("doctor", "--json"))]
        answers += [secretive.runs(*flag, "--verbose", *words) for words in (("status",), ("status", "1"))]
    finally:
        process.terminate()
        process.wait(timeout=90)
    # Then the password is in none of what others can see or keep
    assert PASSWORD not in "\n".join(shown)
    assert PASSWORD not in "".join(answer.out + answer.err for answer in answers)
    assert PASSWORD not in (user.home.parent / "up.log").read_text() + told_by(user.home)
    assert "worker" in told_by(user.home)


def _with_a_runner(pid: int) -> list[str]:
    """What others see of all processes below `pid`, and a runner's environment; nothing without a runner."""
    shown: list[str] = []
    runners = 0
    for child in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            command = " ".join(child.cmdline())
            shown.append(command)
            # A child that has not yet become the runner bears its parent's words: only the runner's own count
            if "postq.worker.runner" in command:
                shown += [f"{name}={value}" for name, value in child.environ().items()]
                runners += 1
    return shown if runners else []


def test_an_error_of_the_broker_or_database_does_not_repeat_the_password(user: User) -> None:
    broken = user.with_settings(
        database_url=f"postgresql+psycopg://u:{PASSWORD}@127.0.0.1:{free_port()}/db",
        broker_url=f"amqp://u:{PASSWORD}@127.0.0.1:{free_port()}//",
    )
    for words in (("status",), ("doctor",), ("doctor", "--json"), ("--verbose", "status"), ("db", "upgrade")):
        answer = broken.tries(*words)
        assert answer.code == 6, words
        assert PASSWORD not in answer.out + answer.err


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_every_file_is_closed_to_others_even_in_a_home_that_is_open(umask: int, tmp_path: Path) -> None:
    # Given a home that somebody made with open doors
    user = User(home=tmp_path / "home")
    user.home.mkdir(mode=0o755)
    user.home.chmod(0o755)
    before = os.umask(umask)
    # When a bundle is trained there
    try:
        user.runs("corpus", "add", "subjects", write_corpus(tmp_path / "corpus.jsonl"))
        user.runs("submit-train", "subjects", "--preset", "tfidf")
        user.runs("up", "--cpu-workers", 1, "--until-idle")
    finally:
        os.umask(before)
    # Then nothing below can be read by others, nor written by the group
    assert (user.home / "bundles").is_dir()
    shut = stat.S_IRWXO | stat.S_IWGRP | (stat.S_IRWXG if umask == 0o077 else 0)
    opened = [path for path in user.home.rglob("*") if stat.S_IMODE(path.stat().st_mode) & shut]
    assert opened == []
