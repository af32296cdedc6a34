"""`postq rethreshold`: new thresholds for a trained model, and new labels for what it has scored."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from postq.cli import options
from postq.cli.bundles.name import checked_name
from postq.cli.command import ON_DATABASE, command
from postq.cli.invocation import Invocation, invocation_of
from postq.cli.printing.terminal import note, say, show_json

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.orm import Session

    from postq.learning.bundle.bundle import Bundle
    from postq.learning.thresholds.decision import Decision
    from postq.models import BundleRow, Job

Rules = Literal["off", "implications", "most_specific", "both"]
Method = Literal["per_label", "bagged", "shrunk", "global", "micro", "micro_macro", "half"]


@command(
    "rethreshold",
    examples=(
        "postq rethreshold @production --method global",
        "postq rethreshold opinions-tfidf --method bagged --name opinions-bagged",
        "postq rethreshold @production --method shrunk --job 7",
        "postq rethreshold opinions-tfidf --rules implications --name opinions-rules",
        "postq rethreshold opinions-tfidf --rules both --facets facets.yaml",
    ),
    exits=(3, 4, 5, 8, *ON_DATABASE),
)
def rethreshold(
    ctx: typer.Context,
    *,
    bundle: options.BundleReference,
    method: Annotated[
        Method, typer.Option(help="How thresholds are tuned; docs/thresholds.md says when to use which.")
    ] = "micro_macro",
    rules: Annotated[
        Rules | None,
        typer.Option(
            help="Rules between labels, judged anew and kept only where they help; docs/rules.md. "
            "[default: what the bundle was judged with]",
            show_default=False,
        ),
    ] = None,
    facets: options.FacetsFile = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Name of the new bundle. [default: NAME-METHOD]", show_default=False
        ),
    ] = None,
    job: Annotated[
        int | None,
        typer.Option(
            metavar="JOB",
            min=1,
            max=options.LARGEST_NUMBER,
            help="A finished classification with this model: recompute its labels, as a new job.",
            show_default=False,
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Tune a bundle's thresholds anew on the scores it keeps; needs no device and trains nothing.

    Makes a new bundle with the same model. Aliases stay where they are. With --job the labels of a finished
    classification are recomputed from its stored scores, so that `--only-new` finds these documents scored.
    """
    invocation = invocation_of(ctx)
    made = _made(invocation, bundle, method=method, rules=rules, facets=facets, name=name, job=job)
    if json:
        show_json(made)
        return
    say(f"Bundle {made['bundle']}, {made['name']}, has {method} thresholds.")
    if made["rules"]:
        say(f"Rules between labels, {made['rules']}")
    if made["same_labels"]:
        note("The thresholds are the ones it had: it predicts exactly what its parent predicts.")
    if made["job_state"] in ("ready", "running"):
        note(f"Job {made['job']} is at it already; follow it with: postq status {made['job']} --watch.")
    elif made["job"] is not None:
        say(f"Job {made['job']} holds the labels of job {job} with these thresholds.")


def _made(
    invocation: Invocation,
    reference: str,
    *,
    method: Method,
    rules: Rules | None,
    facets: "Path | None",
    name: str | None,
    job: int | None,
) -> dict[str, object]:
    from postq.cli.bundles.facets_file import read_facets
    from postq.db import database_now
    from postq.jobs.relabelling import begin_relabelling
    from postq.learning.bundle import open_bundle
    from postq.learning.rethresholding import rethreshold_bundle
    from postq.registry.bundles import resolve_bundle
    from postq.registry.derived import drafted, keep_bundle

    home = invocation.settings.home
    with invocation.database.reading() as session:
        parent = resolve_bundle(session, reference)
        source = _source(session, job, home=home, parent=parent) if job is not None else None
    opened = open_bundle(home / parent.path, expected_digest=parent.digest)
    chosen = checked_name(name or f"{opened.name}-{method}")

    known = None if facets is None else read_facets(facets)

    def make(folder: "Path") -> "Bundle":
        return rethreshold_bundle(
            opened, method=method, name=chosen, output=folder, rules=rules, facets=known
        )

    with (
        drafted(home, make) as new,
        invocation.database.transaction() as session,
    ):
        now = database_now(session)
        row = keep_bundle(session, new, home=home, parents=[parent], now=now)
        relabelled, state = None, None
        if source is not None:
            relabelled = begin_relabelling(
                session, source, bundle=row, now=now, settings=invocation.settings
            ).job_id
    if source is not None and relabelled is not None:
        state = _relabel(invocation, relabelled, source=source, bundle=row, decision=new.thresholds.decision)
    return {
        "bundle": row.id,
        "name": row.name,
        "digest": row.digest,
        "fingerprint": row.fingerprint.hex(),
        "parent": parent.id,
        "method": method,
        "rules": row.metrics.get("rules", {}).get("sentence"),
        "same_labels": row.fingerprint == parent.fingerprint,
        "job": relabelled,
        "job_state": state,
    }


def _relabel(
    invocation: Invocation,
    job_id: int,
    *,
    source: "Job",
    bundle: "BundleRow",
    decision: "Decision",
) -> str:
    """Label shard after shard; returns the state of the job then."""
    from postq.db import database_now
    from postq.jobs.relabelling import relabel_next
    from postq.models import Job

    assert source.id is not None
    assert bundle.id is not None
    more = True
    while more:
        with invocation.database.transaction() as session:
            more = relabel_next(
                session,
                job_id,
                source_id=source.id,
                bundle_id=bundle.id,
                decision=decision,
                now=database_now(session),
                settings=invocation.settings,
            )
    with invocation.database.reading() as session:
        return session.get_one(Job, job_id).state.value


def _source(session: "Session", job_id: int, *, home: "Path", parent: "BundleRow") -> "Job":
    """The job whose labels are recomputed, made sure to hold scores of this very model.

    Raises NotFound, BadInput, Conflict, LabelSetMismatch and IntegrityError.
    """
    from postq.errors import IntegrityError
    from postq.jobs.relabelling import require_finished_classification
    from postq.learning.bundle import fingerprint, open_bundle
    from postq.models import BundleRow

    source = require_finished_classification(session, job_id)
    assert source.bundle_id is not None
    row = session.get_one(BundleRow, source.bundle_id)
    scored_by = open_bundle(home / row.path, expected_digest=row.digest)
    _same_model(scored_by, open_bundle(home / parent.path, expected_digest=parent.digest))
    if fingerprint(scored_by) != source.fingerprint:
        raise IntegrityError(
            f"The scores of job {job_id} were made by another version of postq's scoring.",
            hint="Classify the corpus again.",
        )
    return source


def _same_model(scored_by: "Bundle", parent: "Bundle") -> None:
    parent.thresholds.require_match(
        labels=scored_by.labels, score_space=scored_by.score_space, model_digest=scored_by.model_digest
    )
