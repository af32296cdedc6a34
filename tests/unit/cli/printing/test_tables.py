"""What people copy from a page is whole there, however narrow the window."""

import io

import pytest
from rich.console import Console

from postq.cli.printing.column import Column
from postq.cli.printing.tables import FittedListing, facts

LISTED = FittedListing(
    (
        Column(key="name", meaning="name", value=lambda row: row[0], heading="Name", flexible=True),
        Column(key="state", meaning="state", value=lambda row: row[1], heading="State"),
        Column(key="size", meaning="size", value=lambda row: row[2], heading="Set aside", right=True),
    ),
    [("opinions of the court", "running", 1234), ("b", "", 0)],
)
DIGEST = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("width", "printed"),
    [
        (32, "Name State Set aside|opinions of running 1,234|the court|b 0"),
        (24, "Name opinions of|the court|State running|Set aside 1,234||Name b|Set aside 0"),
    ],
)
def test_a_listing_wider_than_the_window_is_a_block_a_row_with_nothing_cut(width: int, printed: str) -> None:
    console = Console(file=io.StringIO(), width=width)
    console.print(LISTED)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert "|".join(" ".join(line.split()) for line in lines) == printed


HISTORY = FittedListing(
    (
        Column(key="at", meaning="when", value=lambda row: row[0], heading="When"),
        Column(key="number", meaning="number", value=lambda row: row[1], heading="Shard", right=True),
        Column(key="message", meaning="words", value=lambda row: row[2], heading="Message", flexible=True),
    ),
    [("08:58:01", 1, "a message of several words that needs some room"), ("08:58:02", None, "")],
)


@pytest.mark.parametrize(
    ("width", "printed"),
    [
        (
            70,
            "When      Shard  Message|"
            "08:58:01      1  a message of several words that needs some room|08:58:02",
        ),
        (
            38,
            "When      Shard|          Message|08:58:01      1|"
            "          a message of several words|          that needs some room|08:58:02",
        ),
    ],
)
def test_a_last_cell_with_little_room_beside_the_others_stands_below_them(width: int, printed: str) -> None:
    console = Console(file=io.StringIO(), width=width)
    console.print(HISTORY)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert "|".join(line.rstrip() for line in lines) == printed


def test_a_digest_is_wrapped_and_never_cut() -> None:
    console = Console(file=io.StringIO(), width=50)
    console.print(facts([("result digest", DIGEST)]))
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    assert "…" not in printed
    assert "".join(printed.replace("result digest", "").split()) == DIGEST
