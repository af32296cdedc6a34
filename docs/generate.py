"""Writes the parts of the documents that the code already knows: settings, exit codes, the file tree."""

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from postq import errors
from postq.cli.command import EXIT_CODES
from postq.settings import DEFAULT_HOME, Settings

ROOT = Path(__file__).resolve().parents[1]
OTHER_ROOMS = {
    "demo": "The main job on a synthetic corpus, start to end, through the real command line.",
    "tests": "unit/ mirrors postq/, integration/ borrows real servers, faults/ kills, acceptance/ is a user.",
    "benchmarks": "Measurements with their method; recorded results lie in results/.",
    "docs": "What a person needs besides this page; generated parts are compared with the code by tests.",
    "deploy": "What compose.yaml needs besides the image: the broker's settings and fresh passwords.",
}


@dataclass(frozen=True, kw_only=True)
class Block:
    """One generated part of a document, between `<!-- name -->` and `<!-- /name -->`."""

    file: str
    name: str
    text: Callable[[], str]

    def written_into(self, document: str) -> str:
        """`document` with this part anew; ValueError when its two marks are missing."""
        opening, closing = f"<!-- {self.name} -->", f"<!-- /{self.name} -->"
        head, found, rest = document.partition(opening)
        _, ended, tail = rest.partition(closing)
        if not (found and ended):
            raise ValueError(f"{self.file} has no place marked {opening} … {closing}")
        return f"{head}{opening}\n{self.text()}\n{closing}{tail}"


def sentence_of(path: Path) -> str:
    """The first line of a module's docstring, or of a package's `__init__`."""
    file = path / "__init__.py" if path.is_dir() else path
    doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) if file.exists() else None
    return (doc or "").partition("\n")[0]


def rooms() -> list[Path]:
    """The packages and modules directly under `postq/`: folders first, each by name."""
    entries = [path for path in (ROOT / "postq").iterdir() if path.suffix == ".py" or _is_package(path)]
    return sorted((path for path in entries if path.stem != "__init__"), key=lambda p: (p.is_file(), p.name))


def _is_package(path: Path) -> bool:
    return path.is_dir() and any(path.glob("*.py"))


def tree() -> str:
    """The file tree with the sentence each room or file opens with."""
    inside = [(f"  {path.name}{'/' if path.is_dir() else ''}", sentence_of(path)) for path in rooms()]
    around = [(f"{name}/", sentence) for name, sentence in OTHER_ROOMS.items() if (ROOT / name).is_dir()]
    lines = [("postq/", "The package."), *inside, *around]
    width = max(len(name) for name, _ in lines)
    return "```\n" + "\n".join(f"{name:<{width}}  {text}" for name, text in lines) + "\n```"


def settings() -> str:
    """The table of every setting: name, default, meaning."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    rows += [
        f"| `POSTQ_{name.upper()}` | {_default_of(name)} | {_cell(meaning)} |"
        for name, meaning in _setting_meanings()
    ]
    return "\n".join(rows)


def _setting_meanings() -> Iterator[tuple[str, str]]:
    """Each field of Settings with the docstring below it, in the order of the class."""
    source = ast.parse((ROOT / "postq" / "settings.py").read_text(encoding="utf-8"))
    body = next(n for n in source.body if isinstance(n, ast.ClassDef) and n.name == "Settings").body
    for field, below in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            is_doc = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            yield field.target.id, str(below.value.value) if is_doc else ""  # type: ignore[attr-defined]


def _default_of(name: str) -> str:
    value: Any = Settings.model_fields[name].default
    if value == DEFAULT_HOME:
        return "the user's data folder"
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value == ():
        return "unset"
    return f"`{value:,}`" if isinstance(value, int) else f"`{value}`"


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def exit_codes() -> str:
    """The table of every exit code of `postq`."""
    rows = [f"| {code} | {meaning} |" for code, meaning in sorted(EXIT_CODES.items())]
    return "\n".join(["| code | meaning |", "|---|---|", *rows])


def error_tree() -> str:
    """The tree of errors as `postq/errors.py` draws it."""
    drawn = [line for line in (errors.__doc__ or "").splitlines() if re.match(r"^[│├└ ─]*[A-Z]\w+ +\d", line)]
    return "```\n" + "\n".join(drawn) + "\n```"


BLOCKS = (
    Block(file="README.md", name="tree", text=tree),
    Block(file="docs/operations.md", name="settings", text=settings),
    Block(file="docs/exit_codes.md", name="exit codes", text=exit_codes),
    Block(file="docs/exit_codes.md", name="errors", text=error_tree),
)
OTHER_GENERATORS = ("cli_reference.py", "measurements.py", "state_machine.py")
"""Scripts beside this one that write a document of their own."""


def main() -> None:
    """Write every generated part; a part that is right already is left alone."""
    for block in BLOCKS:
        path = ROOT / block.file
        before = path.read_text(encoding="utf-8")
        after = block.written_into(before)
        if after != before:
            path.write_text(after, encoding="utf-8")
    for name in OTHER_GENERATORS:
        if (script := ROOT / "docs" / name).exists():
            subprocess.run([sys.executable, str(script)], check=True)


if __name__ == "__main__":
    main()
