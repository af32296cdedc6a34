"""`postq predictions review`: the documents of a job that most need a person."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from postq.cli import options
from postq.cli.bundles.tiers import Levels, parse_levels
from postq.cli.command import ON_DATABASE, command
from postq.cli.invocation import Invocation, invocation_of
from postq.cli.printing.column import Column
from postq.cli.printing.listing import Listing
from postq.cli.printing.listing_file import Output, form_of, write_listing
from postq.cli.printing.terminal import note, say
from postq.counted import counted
from postq.errors import BadInput, Conflict, NotFound, NotTrainable

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from postq.learning.bundle import Bundle
    from postq.learning.review import Judge
    from postq.learning.risk import Gate
    from postq.learning.tiers import TierLevels
    from postq.models import BundleRow
    from postq.models import Job as JobRow
    from postq.predictions.review import ReviewItem

LISTING: "Listing[ReviewItem]" = Listing(
    name="predictions review",
    empty="No document gives a reason for a person's look.",
    columns=(
        Column(
            key="rank",
            meaning="from 1, the document that needs a person most",
            value=lambda i: i.rank,
            heading="Rank",
            right=True,
        ),
        Column(
            key="document",
            meaning="document id",
            value=lambda i: i.document_id,
            heading="Document",
            flexible=True,
        ),
        Column(key="row", meaning="row in the corpus version, from 0", value=lambda i: i.row),
        Column(
            key="need",
            meaning="weights of all its reasons together",
            value=lambda i: i.need,
            heading="Need",
            cell=lambda i: f"{i.need:.2f}",
            right=True,
        ),
        Column(
            key="reasons",
            meaning="kind, weight and sentence of each reason, weightiest first",
            value=lambda i: [
                {"kind": each.kind, "weight": round(each.weight, 4), "reason": each.sentence}
                for each in i.reasons
            ],
            heading="Why",
            cell=lambda i: "\n".join(each.sentence for each in i.reasons),
            field=lambda i: "; ".join(each.sentence for each in i.reasons),
            flexible=True,
        ),
        Column(
            key="labels",
            meaning="predicted labels with their scores, highest first",
            value=lambda i: [{"label": label, "score": score} for label, score in i.labels],
            field=lambda i: "; ".join(f"{label}={score:.6g}" for label, score in i.labels),
        ),
    ),
)


@command(
    "review",
    examples=(
        "postq predictions review --job 7",
        "postq predictions review --job 7 --limit 500 --output review.csv",
        "postq predictions review --job 7 --risk 0.05 --limit 100000 --output review.csv",
    ),
    exits=(3, 4, 5, 8, *ON_DATABASE),
)
def review(
    ctx: typer.Context,
    *,
    job: Annotated[
        int,
        typer.Option(
            metavar="JOB", min=1, max=options.LARGEST_NUMBER, help="A classification.", show_default=False
        ),
    ],
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1_000_000, help="Most documents.")] = 20,
    levels: Levels = "0.63,0.93",
    risk: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Only the documents to look at so that, in expectation, no more than this share of all pass "
            "with a wrong label.",
            show_default=False,
        ),
    ] = None,
    output: Output = None,
    json: options.Json = False,
) -> None:
    """Rank the documents that most need a person, with the reasons for each.

    A score near its threshold, a predicted label of tier review or manual (see `postq bundles tiers`), no
    predicted label at all, or text the model did not read. Computed from stored scores, without a device.
    """
    form = form_of(output)
    invocation = invocation_of(ctx)
    wanted = parse_levels(levels)
    judge, items = _queue(invocation, job, wanted, limit=limit, risk=risk)
    if judge.gate is not None:
        _tell_gate(judge.gate)
    if output is not None:
        write_listing(LISTING, items, output, form=form)
        say(f"Wrote {counted(len(items), 'document')} to {output}.")
        return
    LISTING.show(items, json=json)
    if len(items) == limit and not json:
        note(f"ends after the first {limit}; --limit shows more, --output writes them to a file.")


def _queue(
    invocation: Invocation, job_id: int, levels: "TierLevels", *, limit: int, risk: float | None
) -> "tuple[Judge, list[ReviewItem]]":
    from postq.predictions.review import review_queue

    with invocation.database.reading() as session:
        job, row = _job_and_bundle(session, job_id)
        judge = _judge(row, levels, home=invocation.settings.home, risk=risk)
        return judge, review_queue(session, job_id=job_id, corpus_id=job.corpus_id, judge=judge, limit=limit)


def _tell_gate(gate: "Gate") -> None:
    which = f"documents within {gate.cut:.2g} logits of a threshold are looked at"
    if not gate.review_share:
        which = "no document need be looked at"
    elif gate.review_share == 1:
        which = "every document is looked at"
    say(
        f"At a risk of {gate.risk:g} {which}: {100 * gate.review_share:.0f} % of the bundle's "
        f"{counted(gate.documents, 'test document')}, of which {100 * gate.wrong_share:.0f} % have a wrong "
        "label."
    )


def _job_and_bundle(session: "Session", job_id: int) -> "tuple[JobRow, BundleRow]":
    from postq.contracts.specs import JobKind
    from postq.models import BundleRow, Job

    job = session.get(Job, job_id)
    if job is None:
        raise NotFound(f"There is no job {job_id}.", hint="See all jobs with: postq status.")
    if job.kind is JobKind.TRAIN:
        raise BadInput(f"Job {job_id} is a training and predicts nothing.", hint="Name a classification.")
    if job.bundle_id is None:
        raise Conflict(f"Job {job_id} has not begun: {job.reason}.", hint=f"See: postq status {job_id}.")
    return job, session.get_one(BundleRow, job.bundle_id)


def _judge(row: "BundleRow", levels: "TierLevels", *, home: Path, risk: float | None) -> "Judge":
    from postq.learning.bundle import open_bundle
    from postq.learning.rejudging import read_metrics
    from postq.learning.review import Judge
    from postq.learning.tiers import label_tiers

    bundle = open_bundle(home / row.path, expected_digest=row.digest)
    tiers = [each.tier for each in label_tiers(read_metrics(bundle), levels=levels)]
    gate = None if risk is None else _gate(bundle, risk)
    return Judge(labels=bundle.labels, decision=bundle.thresholds.decision, tiers=tiers, gate=gate)


def _gate(bundle: "Bundle", risk: float) -> "Gate":
    from postq.learning.bundle.score_file import read_scores
    from postq.learning.risk import control_risk

    test = read_scores(bundle.path).get(("main", "test"))
    if test is None:
        raise NotTrainable(
            f"Bundle '{bundle.name}' keeps no test scores, and those that thresholds were tuned on vouch for "
            "nothing.",
            hint="Train on a corpus with a test split, or leave out --risk.",
        )
    return control_risk(test.truth, test.scores, bundle.thresholds.decision, risk=risk)
