"""Who is told of as alive: workers of this machine that really run."""

import os
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from postq.cli.app import app
from postq.cli.fleet.fleet import Fleet
from postq.contracts.device import Device
from postq.db import database_now, open_database
from postq.jobs.workers import register_worker
from postq.migrations import ensure_schema
from postq.settings import Settings

HERE = socket.gethostname()
GONE = 2**22 + 1
"""Above the kernel's highest process number."""


@pytest.mark.parametrize(
    ("hostname", "pid", "told"),
    [(HERE, os.getpid(), 1), ("elsewhere", os.getpid(), 0), (HERE, GONE, 0)],
    ids=["of this machine", "of another machine", "gone"],
)
def test_a_second_fleet_on_one_machine_is_told_of_the_first(
    hostname: str, pid: int, told: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fleet, "run", lambda *_, **__: None)
    database = open_database(Settings(home=tmp_path))
    ensure_schema(database)
    with database.transaction() as session:
        register_worker(
            session,
            worker_id="w",
            hostname=hostname,
            pid=pid,
            device=Device(kind="cpu"),
            version="1",
            now=database_now(session),
        )
    database.dispose()
    answer = CliRunner().invoke(app, ["--home", str(tmp_path), "up", "--cpu-workers", "1"])
    assert answer.exit_code == 0
    says = f"1 worker of this machine serves this database already (cpu, process {pid})"
    assert answer.stderr.count(says) == told
