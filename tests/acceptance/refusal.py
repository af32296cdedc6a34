"""How a refusal must look: one sentence, one hint, its exit code, and nothing half-written."""

import re
from pathlib import Path

from tests.acceptance.user import Answer, User

SENTENCE = re.compile(r"error: \S.*[.?]")
HINT = re.compile(r"hint: \S.*")


def refused(user: User, *words: object, code: int, says: str) -> None:
    """The command, as a process, ends with `code` and two lines, the first of which matches `says`."""
    before = files_of(user.home)
    check_refusal(user.runs(*words, code=code), says=says)
    assert files_of(user.home) - before <= NEW_DATABASE, "something half-written was left"


def refused_here(user: User, *words: object, code: int, says: str) -> None:
    """The same inside this process."""
    before = files_of(user.home)
    answer = user.tries(*words)
    assert answer.code == code, answer
    check_refusal(answer, says=says)
    assert files_of(user.home) - before <= NEW_DATABASE, "something half-written was left"


def check_refusal(answer: Answer, *, says: str) -> None:
    """One sentence, one hint, no traceback, no result."""
    assert answer.out == ""
    assert len(answer.messages) == 2, answer.err
    assert SENTENCE.fullmatch(answer.messages[0]), answer.err
    assert HINT.fullmatch(answer.messages[1]), answer.err
    assert re.search(says, answer.messages[0]), answer.err
    assert "Traceback" not in answer.err


NEW_DATABASE = {"postq.db", "postq.db-wal", "postq.db-shm", "postq.db.upgrade-lock", "corpora"}
"""What opening the embedded database for the first time may make, and the empty folder of snapshots."""


def files_of(home: Path) -> set[str]:
    """Everything below home, by relative name."""
    return {path.relative_to(home).as_posix() for path in home.rglob("*")} if home.is_dir() else set()
