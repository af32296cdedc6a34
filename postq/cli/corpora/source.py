"""Options that say which files are read as a corpus and how, and what they mean."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from postq.corpus.fields import Columns
    from postq.corpus.location import Input
    from postq.corpus.source import SourceForm

COLUMNS = "Column names (generic JSON lines, CSV, Parquet)"

Files = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE", help="Files, folders or fsspec URLs; .gz and .zst are unpacked."),
]
SplitFiles = Annotated[
    list[str] | None,
    typer.Option(
        "--split",
        metavar="SPLIT=FILE",
        help="A file that is one official split: train, validation or test. Repeatable.",
        show_default=False,
    ),
]
Form = Annotated[
    Literal["source", "jsonl", "csv", "parquet", "text"] | None,
    typer.Option(help="Form of the files; by default each tells its own.", show_default=False),
]
TextColumn = Annotated[str, typer.Option(metavar="NAME", help="Text.", rich_help_panel=COLUMNS)]
IdColumn = Annotated[str, typer.Option(metavar="NAME", help="Document id.", rich_help_panel=COLUMNS)]
LabelsColumn = Annotated[str, typer.Option(metavar="NAME", help="Labels.", rich_help_panel=COLUMNS)]
SplitColumn = Annotated[str, typer.Option(metavar="NAME", help="Official split.", rich_help_panel=COLUMNS)]
Delimiter = Annotated[
    str, typer.Option(metavar="TEXT", help="Between labels given as one string.", rich_help_panel=COLUMNS)
]


def inputs_of(files: list[str] | None, split: list[str] | None) -> "list[Input]":
    """What to read, the files of `--split` first; raises BadInput when one names no split."""
    from postq.corpus.location import Input, parse_split_input

    return [*map(parse_split_input, split or ()), *(Input(path=path) for path in files or ())]


def form_of(name: str | None) -> "SourceForm | None":
    """The form asked for; None lets each file tell its own."""
    from postq.corpus.source import SourceForm

    return SourceForm(name) if name else None


def columns_of(text: str, identifier: str, labels: str, split: str, delimiter: str) -> "Columns":
    """The names of fields that the options give."""
    from postq.corpus.fields import Columns

    return Columns(text=text, id=identifier, labels=labels, split=split, delimiter=delimiter)
