"""The demo plays to its end on a small corpus, and leaves no worker behind when it is interrupted."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
SMALL = ("--documents", "120", "--new-documents", "10", "--median-words", "150")


def demo(repository: Path, home: Path, *words: str) -> list[str]:
    return [sys.executable, str(repository / "demo" / "run.py"), *SMALL, "--home", str(home), *words]


def test_the_demo_ends_well_and_shows_both_models(repository: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        demo(repository, tmp_path / "home"), capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for words in ("TF-IDF", "small Longformer", "nothing new", "All 8 jobs ended as they should"):
        assert words in done.stdout
    assert processes_in(tmp_path) == []


def test_a_demo_that_is_interrupted_drains_its_workers(
    repository: Path, tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    process = subprocess.Popen(
        demo(repository, tmp_path / "home"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        wait_until(lambda: "worker 2 (cpu) started" in read(tmp_path / "home" / "up.log"), 120)
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=120)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130, told
    wait_until(lambda: processes_in(tmp_path) == [], 60)


def test_the_demo_does_not_empty_a_folder_that_is_not_its_own(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("keep me")
    done = subprocess.run(demo(repository, tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "not of an earlier demo" in done.stderr
    assert (tmp_path / "precious.txt").read_text() == "keep me"


def read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def processes_in(home: Path) -> list[str]:
    """Command lines of living processes that were told to work in `home`."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        if place.name == str(os.getpid()):
            continue
        try:
            environment = (place / "environ").read_bytes()
            if f"POSTQ_HOME={home}".encode() in environment and b"postq" in (place / "cmdline").read_bytes():
                found.append((place / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue  # it ended meanwhile, or belongs to somebody else
    return found
