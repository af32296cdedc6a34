"""Listings written to files: JSON lines or CSV, told from the suffix and replaced only when complete."""

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from postq.cli.printing.listing import Listing
from postq.errors import BadInput

FORMS: dict[str, Literal["jsonl", "csv"]] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write .jsonl or .csv, replaced only when complete.",
        show_default=False,
    ),
]


def form_of(output: Path | None) -> Literal["jsonl", "csv"] | None:
    """Told from the suffix; None without a file. Raises BadInput."""
    if output is None:
        return None
    if output.suffix.lower() not in FORMS:
        raise BadInput(
            f"The format of '{output}' cannot be told from its suffix.", hint="Name it .jsonl or .csv."
        )
    return FORMS[output.suffix.lower()]


def write_listing(
    listing: Listing[Any], rows: Sequence[Any], target: Path, *, form: Literal["jsonl", "csv"] | None
) -> None:
    """Write every key of the listing's rows. Raises StorageUnavailable."""
    from postq.predictions.export import replaced_when_complete

    with replaced_when_complete(target) as stream:
        if form == "jsonl":
            lines = (json.dumps(listing.as_dict(row), ensure_ascii=False) for row in rows)
            stream.writelines(line.encode() + b"\n" for line in lines)
            return
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="", write_through=True)
        writer = csv.DictWriter(text, fieldnames=listing.keys)
        writer.writeheader()
        writer.writerows(map(listing.as_fields, rows))
        text.detach()
