"""The checks of `postq doctor` that need no server."""

import re
import socket
from datetime import timedelta
from pathlib import Path

import pytest

from postq.cli.invocation import Invocation
from postq.cli.upkeep.checks import Level, run_checks
from postq.contracts.device import Device
from postq.db import database_now, open_database
from postq.jobs.workers import heartbeat, register_worker
from postq.migrations import ensure_schema
from postq.settings import Settings

GONE = 2**22 + 1
"""Above the kernel's highest process number."""


def test_a_misspelt_variable_is_noted_with_the_one_that_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("POSTQ_LEASE_SECOND", "3")
    invocation = Invocation(flags={"home": str(tmp_path)}, config=None, verbose=False)
    found = [one for one in run_checks(invocation) if one.check == "settings" and "LEASE" in one.text]
    invocation.close()
    assert [(one.level, one.text, one.fix) for one in found] == [
        (Level.NOTE, "POSTQ_LEASE_SECOND is no setting of postq.", "Did you mean POSTQ_LEASE_SECONDS?")
    ]


def test_a_home_that_is_reached_by_a_link_holds_no_other_database(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "link").symlink_to("home")
    invocation = Invocation(flags={"home": str(tmp_path / "link")}, config=None, verbose=False)
    found = [one.text for one in run_checks(invocation) if one.check == "home"]
    invocation.close()
    assert (tmp_path / "home" / "postq.db").is_file()
    assert [text for text in found if "database" in text] == []


@pytest.mark.parametrize(
    ("hostname", "silent", "level", "says"),
    [
        ("elsewhere", 20, Level.OK, "cpu on elsewhere, busy, process"),
        ("elsewhere", 100, Level.NOTE, r"cpu on elsewhere, no heartbeat for 1.. s, was busy then, process"),
        (socket.gethostname(), 1, Level.NOTE, f"process {GONE} is gone without a word; it was busy."),
    ],
    ids=["in time", "overdue", "killed"],
)
def test_a_worker_that_fell_silent_is_not_called_busy(
    hostname: str, silent: float, level: Level, says: str, tmp_path: Path
) -> None:
    database = open_database(Settings(home=tmp_path))
    ensure_schema(database)
    with database.transaction() as session:
        then = database_now(session) - timedelta(seconds=silent)
        device = Device(kind="cpu")
        register_worker(
            session, worker_id="w", hostname=hostname, pid=GONE, device=device, version="1", now=then
        )
        heartbeat(session, "w", state="busy", shard_id=1, now=then)
    database.dispose()
    invocation = Invocation(flags={"home": str(tmp_path)}, config=None, verbose=False)
    (found,) = [one for one in run_checks(invocation) if one.check == "workers"]
    invocation.close()
    assert found.level is level
    assert re.search(says, found.text)
    assert ("its lease has run out" in found.fix) is (level is Level.NOTE)
