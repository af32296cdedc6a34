"""`postq report`: what one job or bundle is worth, as a table, as JSON or as one HTML file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from postq.cli import options
from postq.cli.command import ON_DATABASE, command
from postq.cli.invocation import Invocation, invocation_of
from postq.cli.printing.terminal import say, show, show_json
from postq.errors import BadInput

if TYPE_CHECKING:
    from postq.reports.stored import StoredBundle
    from postq.reports.subject import Subject

Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE.html",
        help="Write one self-contained HTML file. Needs the extra `reports`.",
        show_default=False,
    ),
]


def require_page(output: Path | None) -> None:
    """Refuse a file that no browser would take for a page. Raises BadInput and ExtraMissing."""
    if output is None:
        return
    if output.suffix.lower() not in (".html", ".htm"):
        raise BadInput(f"'{output}' is no name for an HTML page.", hint="Name it FILE.html.")
    from postq.reports.extra import require_drawing

    require_drawing()


@command(
    "report",
    examples=(
        "postq report 7",
        "postq report @production --output production.html",
        "postq report bundle:3 --json",
    ),
    exits=(3, 4, 5, 8, *ON_DATABASE),
)
def report(
    ctx: typer.Context,
    *,
    reference: Annotated[
        str,
        typer.Argument(
            metavar="JOB_OR_BUNDLE",
            help="A job's number, or a bundle: bundle:N, NAME or @ALIAS.",
            show_default=False,
        ),
    ],
    output: Output = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            metavar="LABEL",
            help="Draw this label's precision-recall curve; repeatable. By default a few are chosen.",
            show_default=False,
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Report on a training, an evaluation or a bundle, from stored facts only.

    The number of an evaluation reports on what was evaluated; anything else reports on the bundle's own test
    split. Nothing is scored again, so no device is needed.
    """
    from postq.reports.building import build_report

    require_page(output)
    subject, stored = load(invocation_of(ctx), reference)
    found = build_report(subject, stored, labels=tuple(label or ()))
    if output is not None:
        from postq.reports.page import report_page
        from postq.reports.writing import write_page

        write_page(report_page(found), output)
        say(f"The report is in {output}.")
    if json:
        from postq.reports.answer import report_facts

        show_json(report_facts(found))
    elif output is None:
        from postq.cli.judging.report_table import report_lines

        show(report_lines(found))


def load(invocation: Invocation, reference: str) -> "tuple[Subject, StoredBundle]":
    """What `reference` means, and its bundle, checked against its manifest.

    Raises NotFound, Conflict, BadInput, BundleUnusable and DigestMismatch.
    """
    from postq.reports.stored import read_bundle
    from postq.reports.subject import find_subject

    with invocation.database.reading() as session:
        subject = find_subject(session, reference, home=invocation.settings.home)
    return subject, read_bundle(subject.folder, expected_digest=subject.digest)
