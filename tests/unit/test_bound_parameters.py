"""No SQL is built from strings: what is executed as text is a constant, and values travel as parameters."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT_OF_SQL = {"text", "literal_column", "exec_driver_sql", "TextClause", "DDL"}
EXECUTED = {"execute", "executemany", "executescript", "copy", "scalar", "scalars"}
KNOWN = {
    ("postq/db.py", 'f"PRAGMA {pragma}"'): "three constants beside it",
    ("postq/db.py", 'f"BEGIN {mode}"'): "DEFERRED or IMMEDIATE, set in this file",
    (
        "postq/migrations/__init__.py",
        'f"PRAGMA application_id = {secrets.randbelow(2**31 - 1) + 1}"',
    ): "a random number; a pragma takes no parameters",
    (
        "postq/bulk.py",
        """f'COPY "{table}" ({_quoted(columns)}) FROM STDIN'""",
    ): "names of a table",
    (
        "postq/bulk.py",
        """f'INSERT INTO "{table}" ({_quoted(columns)}) VALUES ({marks})'""",
    ): "names of a table and a question mark for each value",
}
"""Built text that is accepted, with the reason; it must hold nothing from outside."""


def called(node: ast.Call) -> str:
    """The last part of what is called."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def is_built(node: ast.expr) -> bool:
    """True for f-strings with values, `%` and `+` on text, and `.format`."""
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    if isinstance(node, ast.BinOp):
        parts = (node.left, node.right)
        return any(is_built(part) or _is_text(part) for part in parts)
    return isinstance(node, ast.Call) and called(node) in ("format", "join", "replace")


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def built_sql(source: str) -> Iterator[str]:
    """Every place of `source` where SQL is text that was put together."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        first = node.args[0]
        if (called(node) in TEXT_OF_SQL and not _is_text(first)) or (
            called(node) in EXECUTED and is_built(first)
        ):
            yield ast.get_source_segment(source, first) or ""


def test_no_statement_of_postq_is_put_together_from_strings() -> None:
    found = {
        (file.relative_to(ROOT).as_posix(), segment)
        for file in sorted((ROOT / "postq").rglob("*.py"))
        for segment in built_sql(file.read_text(encoding="utf-8"))
        if _speaks_sql(file)
    }
    assert found == set(KNOWN)


def _speaks_sql(file: Path) -> bool:
    source = file.read_text(encoding="utf-8")
    return any(word in source for word in ("sqlalchemy", "sqlmodel", "psycopg", "sqlite3"))


@pytest.mark.parametrize(
    "line",
    [
        'session.execute(f"SELECT {name}")',
        'session.execute(sa.text("SELECT " + name))',
        'session.execute(sa.text(f"SELECT {name}"))',
        'session.execute("SELECT %s" % name)',
        'session.execute("SELECT {}".format(name))',
        "session.execute(sa.text(statement))",
        'cursor.copy(f"COPY {table} FROM STDIN")',
        'sa.literal_column(f"{name}")',
    ],
)
def test_the_rule_finds_what_it_forbids(line: str) -> None:
    assert list(built_sql(line)) != []


@pytest.mark.parametrize(
    "line",
    [
        'session.execute(sa.text("SELECT :name"), {"name": name})',
        "session.execute(sa.select(table).where(table.c.name == name))",
        'session.execute("SELECT 1")',
    ],
)
def test_the_rule_lets_bound_parameters_pass(line: str) -> None:
    assert list(built_sql(line)) == []
