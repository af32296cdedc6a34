"""The house rules of CONTRIBUTING.md, each held by a test."""

import ast
import re
import statistics
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from postq import errors

ROOT = Path(__file__).resolve().parents[2]
CODE_FOLDERS = ("postq", "tests", "benchmarks", "demo", "docs")
MOST_LINES = 400
SHORT_FUNCTION_LINES = 30
VAGUE_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "misc", "base_utils"}
MACHINE_PATH = re.compile(r"(?<![\w.$})-])/(?:work|root)/")


def code_files() -> list[Path]:
    """Every Python file of the checkout's own folders."""
    return [file for folder in CODE_FOLDERS for file in sorted((ROOT / folder).rglob("*.py"))]


def tracked_files() -> list[Path]:
    """Every file under version control, deleted ones left out."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_every_file_opens_with_one_sentence() -> None:
    wrong = {}
    for file in code_files():
        doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
        first = (doc or "").partition("\n")[0]
        if not re.search(r"[.:?]$", first):
            wrong[relative(file)] = first
    assert wrong == {}


def test_no_file_is_longer_than_four_hundred_lines() -> None:
    long = {
        relative(file): count
        for file in code_files()
        if (count := len(file.read_text(encoding="utf-8").splitlines())) > MOST_LINES
    }
    assert long == {}


def test_every_module_is_named_for_what_it_is_responsible_for() -> None:
    vague = [relative(file) for file in code_files() if VAGUE_NAMES & {file.stem, *file.parent.parts[-1:]}]
    assert vague == []


def test_functions_are_short() -> None:
    lengths = [
        length for file in sorted((ROOT / "postq").rglob("*.py")) for length in _function_lengths(file)
    ]
    share = sum(length <= SHORT_FUNCTION_LINES for length in lengths) / len(lengths)
    assert share >= 0.9
    assert statistics.median(lengths) <= 10


def _function_lengths(file: Path) -> Iterator[int]:
    """Lines of each function, its signature and docstring included."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or node.lineno) - node.lineno + 1


def test_nothing_under_version_control_names_a_place_on_one_machine() -> None:
    found = [
        f"{relative(file)}:{number}: {line.strip()[:80]}"
        for file in tracked_files()
        for number, line in enumerate(_text_lines(file), start=1)
        if MACHINE_PATH.search(line)
    ]
    assert found == []


def _text_lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return []  # a binary file holds no sentences


class DrawnError(NamedTuple):
    """One line of the tree at the head of errors.py."""

    name: str
    parent: str | None
    exit_code: int


def drawn_errors() -> list[DrawnError]:
    """The tree as drawn: each level is indented by four characters."""
    line = re.compile(r"^(?P<indent>[│├└─ ]*)(?P<name>[A-Z]\w+) +(?P<code>\d+)  ")
    path: list[str] = []
    drawn = []
    for match in filter(None, map(line.match, (errors.__doc__ or "").splitlines())):
        depth = len(match["indent"]) // 4
        path[depth:] = [match["name"]]
        drawn.append(DrawnError(match["name"], path[depth - 1] if depth else None, int(match["code"])))
    return drawn


def defined_errors() -> list[DrawnError]:
    """The same facts read from the classes."""

    def below(cls: type[errors.PostqError], parent: str | None) -> Iterator[DrawnError]:
        yield DrawnError(cls.__name__, parent, cls.exit_code)
        for child in cls.__subclasses__():
            if child.__module__ == errors.__name__:
                yield from below(child, cls.__name__)

    return list(below(errors.PostqError, None))


def test_the_tree_drawn_in_errors_is_the_tree_of_classes() -> None:
    assert sorted(drawn_errors()) == sorted(defined_errors())


def test_every_error_class_explains_itself_in_one_sentence() -> None:
    for drawn in drawn_errors():
        doc = getattr(errors, drawn.name).__doc__
        assert doc is not None, drawn.name
        assert re.search(r"[.`]$", doc.partition("\n")[0]), drawn.name
