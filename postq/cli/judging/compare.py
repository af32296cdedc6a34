"""`postq compare`: bundles side by side on the test documents they share."""

from typing import TYPE_CHECKING, Annotated

import typer

from postq.cli import options
from postq.cli.command import ON_DATABASE, command
from postq.cli.invocation import invocation_of
from postq.cli.judging.report import Output, load, require_page
from postq.cli.printing.terminal import say, show, show_json

if TYPE_CHECKING:
    from postq.reports.comparing import Comparison


@command(
    "compare",
    examples=("postq compare 7 9", "postq compare baseline @production job:9 --output comparison.html"),
    exits=(3, 4, 5, 8, *ON_DATABASE),
)
def compare(
    ctx: typer.Context,
    *,
    references: Annotated[
        list[str],
        typer.Argument(
            metavar="JOB_OR_BUNDLE",
            help="Two or more: training jobs by number, or bundles: bundle:N, NAME or @ALIAS. "
            "Differences are to the first.",
            show_default=False,
        ),
    ],
    output: Output = None,
    json: options.Json = False,
) -> None:
    """Compare bundles by a paired document bootstrap on the test documents they share.

    Each bundle is judged at its own default thresholds, from the scores it keeps; nothing is scored again.
    """
    if len(references) < 2:
        raise typer.BadParameter("name two bundles or more.")
    require_page(output)
    comparison = _compared(ctx, references)
    if output is not None:
        from postq.reports.comparison_page import comparison_page
        from postq.reports.writing import write_page

        write_page(comparison_page(comparison), output)
        say(f"The comparison is in {output}.")
    if json:
        from postq.reports.answer import comparison_facts

        show_json(comparison_facts(comparison))
    elif output is None:
        from postq.cli.judging.comparison_table import comparison_lines

        show(comparison_lines(comparison))


def _compared(ctx: typer.Context, references: list[str]) -> "Comparison":
    from postq.reports.building import build_report
    from postq.reports.comparing import compare as compare_bundles
    from postq.reports.subject import without_evaluation

    found = [load(invocation_of(ctx), reference) for reference in references]
    reports = [build_report(without_evaluation(subject), stored) for subject, stored in found]
    return compare_bundles([stored for _, stored in found], reports)
