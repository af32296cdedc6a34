"""Backbones are made by another process, whose errors come out as postq's own."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from postq.cli.bundles import backbones
from postq.errors import BadInput, Conflict, ExtraMissing


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets the other process end with this code and these words."""

    def plan(code: int, told: str) -> None:
        def run(command: list[str], **_: Any) -> "subprocess.CompletedProcess[str]":
            return subprocess.CompletedProcess(command, code, stderr=told)

        monkeypatch.setattr(subprocess, "run", run)

    return plan


@pytest.mark.parametrize(("code", "kind"), [(3, BadInput), (5, Conflict)])
def test_the_error_of_the_other_process_is_raised_here(ends: Any, code: int, kind: type[Exception]) -> None:
    ends(code, "some warning\nThe folder is full.\nEmpty it.\n")
    with pytest.raises(kind) as caught:
        backbones.convert_to_longformer(Path("a"), Path("b"), max_tokens=64, window=8)
    assert (caught.value.message, caught.value.hint) == ("The folder is full.", "Empty it.")  # type: ignore[attr-defined]


@pytest.mark.parametrize(("code", "told"), [(1, "Traceback\nValueError: x\n"), (-9, ""), (3, "one line")])
def test_any_other_end_is_a_bug_that_keeps_what_was_said(ends: Any, code: int, told: str) -> None:
    ends(code, told)
    with pytest.raises(RuntimeError, match=f"exit code {code}"):
        backbones.make_tiny(Path("a"), snapshot=Path("s"), seed=1)


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ExtraMissing, match="encoders"):
        backbones.make_tiny(Path("a"), snapshot=Path("s"), seed=1)


def test_a_folder_that_is_no_bert_is_told_by_the_real_process(tmp_path: Path) -> None:
    with pytest.raises(BadInput) as caught:
        backbones.convert_to_longformer(tmp_path / "none", tmp_path / "out", max_tokens=64, window=8)
    assert "none" in caught.value.message
