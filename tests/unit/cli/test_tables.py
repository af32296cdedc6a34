"""What people copy from a page is whole there, however narrow the window."""

import io

from rich.console import Console

from postq.cli.tables import facts

DIGEST = "0123456789abcdef" * 4


def test_a_digest_is_wrapped_and_never_cut() -> None:
    console = Console(file=io.StringIO(), width=50)
    console.print(facts([("result digest", DIGEST)]))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in printed
    assert "".join(printed.replace("result digest", "").split()) == DIGEST
