"""`postq submit-eval`: evaluate a bundle on documents it has never seen."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from postq.cli import options
from postq.cli.command import command
from postq.cli.invocation import invocation_of
from postq.cli.submitting.submission import EXAMPLE_EXITS, Answer, Placement, submit_and_tell

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from postq.contracts.recipes import Precision
    from postq.contracts.specs import EvaluateSpec, EvaluationSplit


@command(
    "submit-eval",
    examples=(
        "postq submit-eval opinions --bundle opinions-tfidf --wait",
        "postq submit-eval opinions --bundle job:2 --after 2",
        "postq submit-eval other-court --bundle @production --split all",
    ),
    exits=(*EXAMPLE_EXITS, 8),
)
def submit_eval(
    ctx: typer.Context,
    *,
    corpus: options.CorpusReference,
    bundle: options.BundleOption,
    split: Annotated[
        Literal["test", "validation", "all"],
        typer.Option(help="Part of the bundle's own split; `all` for a corpus it has never seen."),
    ] = "test",
    allow_leak: Annotated[
        bool,
        options.switch(
            "--allow-leak",
            help="Go on although the bundle was trained or tuned on some documents; the report says so.",
        ),
    ] = False,
    precision: options.Precision = None,
    device_kind: options.DeviceKind = "any",
    memory: options.Memory = None,
    priority: options.Priority = 100,
    after: options.After = None,
    idempotency_key: options.IdempotencyKey = None,
    wait: options.Wait = False,
    quiet: options.Quiet = False,
    json: options.Json = False,
) -> None:
    """Evaluate a bundle on documents it was neither trained nor tuned on."""
    submit_and_tell(
        invocation_of(ctx),
        lambda session: _spec(
            session,
            corpus=corpus,
            bundle=bundle,
            split=split,
            allow_leak=allow_leak,
            precision=precision,
        ),
        placement=Placement(
            device_kind=device_kind,
            memory=memory,
            priority=priority,
            after=after,
            idempotency_key=idempotency_key,
        ),
        answer=Answer(wait=wait, json=json, quiet=quiet),
    )


def _spec(
    session: "Session",
    *,
    corpus: str,
    bundle: str,
    split: "EvaluationSplit",
    allow_leak: bool,
    precision: "Precision | None",
) -> "EvaluateSpec":
    from postq.contracts.specs import EvaluateSpec
    from postq.registry.corpora import resolve_corpus

    row = resolve_corpus(session, corpus)
    assert row.id is not None
    return EvaluateSpec(
        corpus_id=row.id, bundle=bundle, split=split, allow_leak=allow_leak, precision=precision
    )
