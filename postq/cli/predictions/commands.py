"""`postq predictions`: look at what was predicted, and export it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from postq.cli import options
from postq.cli.command import ON_DATABASE, command, group
from postq.cli.invocation import Invocation, invocation_of
from postq.cli.predictions.review import review
from postq.cli.printing.column import Column
from postq.cli.printing.listing import Listing
from postq.cli.printing.terminal import answering, note, say
from postq.counted import counted
from postq.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

    from postq.predictions.query import PredictionFilter, PredictionView, QuarantineView

Form = Literal["jsonl", "csv", "parquet"]
SUFFIXES: dict[str, Form] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".parquet": "parquet"}


def _labels(view: "PredictionView") -> str:
    return "\n".join(f"{label} {score:.2f}" for label, score in view.labels) or "(none)"


def _seen(view: "PredictionView") -> str:
    return f"{view.tokens_seen:,} of {view.tokens_total:,}"


LISTING: "Listing[PredictionView]" = Listing(
    name="predictions show",
    empty="No prediction fits.",
    columns=(
        Column(key="job", meaning="job", value=lambda v: v.job_id, heading="Job", right=True),
        Column(key="corpus", meaning="corpus and version", value=lambda v: v.corpus),
        Column(
            key="document",
            meaning="document id",
            value=lambda v: v.document_id,
            heading="Document",
            flexible=True,
        ),
        Column(key="row", meaning="row in the corpus version, from 0", value=lambda v: v.row),
        Column(
            key="labels",
            meaning="labels predicted with their scores, highest first",
            value=lambda v: [{"label": label, "score": score} for label, score in v.labels],
            heading="Labels",
            cell=_labels,
            flexible=True,
        ),
        Column(
            key="tokens_seen",
            meaning="tokens the model read",
            value=lambda v: v.tokens_seen,
            heading="Tokens read",
            cell=_seen,
            right=True,
            style=lambda v: "yellow" if v.tokens_seen < v.tokens_total else "dim",
        ),
        Column(key="tokens_total", meaning="tokens of the document", value=lambda v: v.tokens_total),
        Column(key="bundle", meaning="bundle", value=lambda v: v.bundle_id),
        Column(key="bundle_name", meaning="its name", value=lambda v: v.bundle),
        Column(key="fingerprint", meaning="identifies what predicted, in hex", value=lambda v: v.fingerprint),
        Column(
            key="scores",
            meaning="every label of the bundle with its score",
            value=lambda v: [{"label": label, "score": score} for label, score in v.scores],
        ),
    ),
)

QUARANTINED: "Listing[QuarantineView]" = Listing(
    name="predictions show --quarantined",
    empty="No document was quarantined.",
    columns=(
        Column(key="job", meaning="job", value=lambda v: v.job_id, heading="Job", right=True),
        Column(
            key="document",
            meaning="document id",
            value=lambda v: v.document_id,
            heading="Document",
            flexible=True,
        ),
        Column(
            key="row",
            meaning="row in the corpus version, from 0",
            value=lambda v: v.row,
            heading="Row",
            right=True,
        ),
        Column(
            key="error",
            meaning="why it could not be scored",
            value=lambda v: v.error,
            heading="Error",
            flexible=True,
        ),
    ),
)

Job = Annotated[
    int | None,
    typer.Option(metavar="JOB", min=1, max=options.LARGEST_NUMBER, help="Of this job.", show_default=False),
]
Corpus = Annotated[
    str | None, typer.Option(metavar="CORPUS", help="Of this corpus version.", show_default=False)
]
Document = Annotated[
    str | None, typer.Option(metavar="ID", help="Of the document with this id.", show_default=False)
]
Label = Annotated[
    str | None,
    typer.Option(metavar="LABEL", help="Of documents this label is predicted for.", show_default=False),
]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the flags ask for, before names are resolved."""

    job: int | None
    corpus: str | None
    document: str | None
    label: str | None

    def resolved(self, session: "Session") -> "PredictionFilter":
        """Raises NotFound for an unknown job or corpus, BadInput for a training or a label no bundle has."""
        from postq.predictions.query import PredictionFilter, check_label
        from postq.registry.corpora import resolve_corpus

        if self.job is not None:
            _require_predictor(session, self.job)
        if self.label is not None:
            check_label(session, self.label, job_id=self.job)
        return PredictionFilter(
            job_id=self.job,
            corpus_id=resolve_corpus(session, self.corpus).id if self.corpus else None,
            document_id=self.document,
            label=self.label,
        )


@command(
    "show",
    examples=(
        "postq predictions show --job 7 --limit 5",
        'postq predictions show --label "On Appeal" --json',
        "postq predictions show --job 7 --quarantined",
    ),
    exits=(3, 4, *ON_DATABASE),
)
def show_some(
    ctx: typer.Context,
    *,
    job: Job = None,
    corpus: Corpus = None,
    document: Document = None,
    label: Label = None,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=100_000, help="Most documents to show.")] = 20,
    quarantined: Annotated[
        bool, options.switch("--quarantined", help="The documents of --job that could not be scored.")
    ] = False,
    json: options.Json = False,
) -> None:
    """Show predictions: each document with its labels and scores."""
    invocation = invocation_of(ctx)
    wanted = Wanted(job=job, corpus=corpus, document=document, label=label)
    if quarantined:
        _show_quarantined(invocation, job, limit=limit, json=json)
        return
    from postq.predictions.query import predictions

    with invocation.database.reading() as session:
        views = list(predictions(session, wanted.resolved(session), limit=limit))
    LISTING.show(views, json=json)
    if len(views) == limit and not json:
        note(f"ends after the first {limit}; --limit shows more, `postq predictions export` writes all.")


@command(
    "export",
    examples=(
        "postq predictions export predictions.jsonl --job 7",
        "postq predictions export scores.parquet --job 7 --all-scores",
        "postq predictions export - --format csv --label 'On Appeal' | head",
    ),
    exits=(3, 4, *ON_DATABASE),
)
def export(
    ctx: typer.Context,
    *,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="File to write, replaced only when complete; - is standard output."
        ),
    ],
    job: Job = None,
    corpus: Corpus = None,
    document: Document = None,
    label: Label = None,
    form: Annotated[
        Form | None,
        typer.Option("--format", help="By default the file's suffix tells.", show_default=False),
    ] = None,
    all_scores: Annotated[
        bool, options.switch("--all-scores", help="Also every label's score, not only those predicted.")
    ] = False,
) -> None:
    """Export predictions as JSON lines, CSV or Parquet, as a stream of any size."""
    import sys

    from postq.predictions.export import export_predictions, write_stream
    from postq.predictions.query import predictions

    chosen = form or _form_of(file)
    wanted = Wanted(job=job, corpus=corpus, document=document, label=label)
    with invocation_of(ctx).database.reading() as session:
        found: Iterator[PredictionView] = predictions(session, wanted.resolved(session))
        if file == "-":
            with answering():
                write_stream(found, sys.stdout.buffer, form=chosen, all_scores=all_scores)
            return
        written = export_predictions(found, Path(file), form=chosen, all_scores=all_scores)
    say(f"Wrote {counted(written, 'prediction')} to {file}.")


def _show_quarantined(invocation: Invocation, job: int | None, *, limit: int, json: bool) -> None:
    from postq.predictions.query import quarantined

    if job is None:
        raise BadInput("--quarantined needs a job.", hint="Add --job JOB; `postq status` lists jobs.")
    with invocation.database.reading() as session:
        _require_predictor(session, job)
        rows = list(quarantined(session, job, limit=limit))
    QUARANTINED.show(rows, json=json)


def _require_predictor(session: "Session", job: int) -> None:
    from postq.contracts.specs import JobKind
    from postq.errors import NotFound
    from postq.models import Job as JobRow

    found = session.get(JobRow, job)
    if found is None:
        raise NotFound(f"There is no job {job}.", hint="See all jobs with: postq status.")
    if found.kind is JobKind.TRAIN:
        raise BadInput(
            f"Job {job} is a training and predicts nothing.", hint="Name a classification or an evaluation."
        )


def _form_of(file: str) -> Form:
    found = SUFFIXES.get(Path(file).suffix.lower())
    if found is not None:
        return found
    raise BadInput(
        f"The format of '{file}' cannot be told from its suffix.",
        hint="Add --format jsonl, csv or parquet.",
    )


app = group("What was predicted: look at it, review it, export it.", show_some, review, export)
