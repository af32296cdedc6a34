"""Options that several commands share, with one wording each."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

WAITING = "Waiting"
PLACEMENT = "Placement"
LARGEST_NUMBER = 2**63 - 1
"""Of a job; databases know no larger one."""
LARGEST_BATCH = 2**31 - 1
"""Tokens."""


def switch(*names: str, help: str, panel: str | None = None) -> Any:
    """An option that is on when given and takes no value."""
    return typer.Option(*names, help=help, metavar="", rich_help_panel=panel)


def precision(where: str, *, panel: str | None = None) -> Any:
    """An option that says what an encoder multiplies in; `where` goes on with that."""
    return typer.Option(
        help=f"What an encoder multiplies in{where}. auto: bf16 on CUDA, fp32 elsewhere. On a CPU bf16 is "
        "several times faster with AMX, and slow without.",
        rich_help_panel=panel,
        show_default=False,
    )


Json = Annotated[bool, switch("--json", help="Print JSON with documented keys instead of a table.")]
Yes = Annotated[bool, switch("--yes", help="Do it; without it nothing is removed.")]
JobNumber = Annotated[
    int,
    typer.Argument(metavar="JOB", min=1, max=LARGEST_NUMBER, help="The job's number.", show_default=False),
]
CorpusReference = Annotated[
    str, typer.Argument(metavar="CORPUS", help="A corpus: NAME (newest version), NAME@VERSION or its number.")
]
BundleReference = Annotated[
    str, typer.Argument(metavar="BUNDLE", help="A bundle: its number, NAME, @ALIAS or job:N.")
]
BundleOption = Annotated[
    str,
    typer.Option(
        "--bundle",
        "-b",
        metavar="BUNDLE",
        help="A bundle: its number, NAME, @ALIAS or job:N.",
        show_default=False,
    ),
]

Wait = Annotated[
    bool,
    switch(
        "--wait",
        help="Stay until the job has ended and exit with its code. Ctrl-C leaves it running.",
        panel=WAITING,
    ),
]
FacetsFile = Annotated[
    Path | None,
    typer.Option(
        "--facets",
        metavar="FILE",
        help="Facets and parents of labels, as YAML or JSON; docs/rules.md shows the form.",
        show_default=False,
    ),
]
Quiet = Annotated[bool, switch("--quiet", "-q", help="Print the job's number only.")]
IdempotencyKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        help="The same again with the same key is the first job, not a second one. Refused for "
        "anything else, another priority included.",
        show_default=False,
    ),
]
After = Annotated[
    int | None,
    typer.Option(
        metavar="JOB",
        min=1,
        max=LARGEST_NUMBER,
        help="Start only when that job has succeeded.",
        show_default=False,
    ),
]
PrecisionName = Literal["auto", "fp32", "bf16"]
Precision = Annotated[PrecisionName | None, precision("; by default what its bundle's recipe says")]
MaxTokensPerBatch = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        min=1,
        max=LARGEST_BATCH,
        help="Tokens in one batch of an encoder; lower needs less memory. By default 131072 for a Longformer "
        "on CUDA and 16384 otherwise, but one document at a time on a CPU, so that the result is the same "
        "however the work is cut.",
        show_default=False,
    ),
]
DeviceKind = Annotated[
    Literal["any", "cpu", "cuda", "mps"],
    typer.Option(help="Kind of device the job needs.", rich_help_panel=PLACEMENT),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Device memory the job needs, such as 24GB.",
        rich_help_panel=PLACEMENT,
        show_default=False,
    ),
]
Priority = Annotated[
    int,
    typer.Option(metavar="N", min=0, max=1000, help="Lower runs first.", rich_help_panel=PLACEMENT),
]
