"""The checks of `postq doctor` that need no server."""

from pathlib import Path

import pytest

from postq.cli.invocation import Invocation
from postq.cli.upkeep.checks import Level, run_checks


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
