"""`postq drift`: whether a classification looks as an earlier one, or as the bundle's own test split, did."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from postq.cli import options
from postq.cli.command import ON_DATABASE, command
from postq.cli.invocation import invocation_of
from postq.cli.printing.terminal import show, show_json
from postq.errors import IntegrityError

if TYPE_CHECKING:
    from postq.jobs.drift import Measured
    from postq.learning.drift import LabelDrift, ShareChange

ALARM_EXIT_CODE = 13


@command(
    "drift",
    examples=("postq drift 7", "postq drift 12 --against 7 --json", "postq drift 12 --against @production"),
    exits=(3, 4, 5, 8, 13, *ON_DATABASE),
)
def drift(
    ctx: typer.Context,
    *,
    job: options.JobNumber,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="JOB|BUNDLE",
            help="A classification by number, or a bundle: bundle:N, NAME or @ALIAS. "
            "[default: the run of its schedule before it, else the test scores its bundle keeps]",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(metavar="N", min=1, max=100_000, help="Most labels in the table.")
    ] = 20,
    json: options.Json = False,
) -> None:
    """Compare a finished classification with an earlier one, or with its bundle's own scores.

    Shares of each label and of documents without one, shifts of scores, and labels that differ although
    content and fingerprint are equal. Ends with 13 when an alarm fires, with 8 when a
    label flipped. Workers do the same for every job fired by a schedule (see `postq events JOB`).
    """
    from postq.jobs.drift import measure_drift

    invocation = invocation_of(ctx)
    with invocation.database.reading() as session:
        measured = measure_drift(session, job, home=invocation.settings.home, against=against)
    if json:
        show_json(_as_json(measured))
    else:
        from postq.cli.judging.drift_page import drift_page

        show(drift_page(measured, limit=limit))
    if measured.drift.flips.flipped:
        raise IntegrityError(
            f"{measured.drift.alarms[0].sentence}.",
            hint="Equal content and fingerprint must give equal labels; see on which devices they ran.",
        )
    if measured.drift.alarms:
        raise typer.Exit(ALARM_EXIT_CODE)


def _as_json(measured: "Measured") -> dict[str, Any]:
    found = measured.drift
    return {
        "job": measured.job_id,
        "against": measured.reference.name,
        "same_fingerprint": measured.reference.same_scores,
        "documents": found.documents,
        "reference_documents": found.reference_documents,
        "learned_from": measured.left_out,
        "alarms": [{"kind": a.kind, "label": a.label, "alarm": a.sentence} for a in found.alarms],
        "no_label": _change(found.empty),
        "flips": {
            "compared": found.flips.compared,
            "flipped": found.flips.flipped,
            "examples": [
                {"row": row, "other_job": other_job, "other_row": other_row}
                for row, other_job, other_row in found.flips.examples
            ],
        },
        "labels": [_label(each) for each in found.labels],
    }


def _label(each: "LabelDrift") -> dict[str, Any]:
    facts = {"label": each.label, **_change(each.predicted)}
    return facts | {"psi": each.psi, "psi_limit": each.psi_limit, "psi_alarm": each.scores_alarm}


def _change(change: "ShareChange") -> dict[str, Any]:
    return {
        "share": change.share,
        "interval": list(change.interval),
        "before": change.before,
        "before_interval": list(change.before_interval),
        "alarm": change.alarm,
    }
