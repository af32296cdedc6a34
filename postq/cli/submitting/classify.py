"""`postq classify-corpus`: predict labels for every document of a corpus."""

from typing import TYPE_CHECKING, Annotated

import typer

from postq.cli import options
from postq.cli.command import command
from postq.cli.invocation import invocation_of
from postq.cli.submitting.submission import EXAMPLE_EXITS, Answer, Placement, submit_and_tell

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from postq.contracts.recipes import Precision
    from postq.contracts.specs import ClassifySpec


@command(
    "classify-corpus",
    examples=(
        "postq classify-corpus opinions --bundle @production --wait",
        "postq classify-corpus opinions --bundle @production --only-new",
        "postq classify-corpus opinions --bundle job:2 --after 2 --device-kind cuda --memory 24GB",
    ),
    exits=EXAMPLE_EXITS,
)
def classify_corpus(
    ctx: typer.Context,
    *,
    corpus: options.CorpusReference,
    bundle: options.BundleOption,
    only_new: Annotated[
        bool,
        options.switch("--only-new", help="Skip documents this bundle has scored before, by their content."),
    ] = False,
    max_tokens_per_batch: options.MaxTokensPerBatch = None,
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
    """Predict labels for every document of a corpus."""
    submit_and_tell(
        invocation_of(ctx),
        lambda session: _spec(
            session,
            corpus=corpus,
            bundle=bundle,
            only_new=only_new,
            batch_tokens=max_tokens_per_batch,
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
    only_new: bool,
    batch_tokens: int | None,
    precision: "Precision | None",
) -> "ClassifySpec":
    from postq.contracts.specs import ClassifySpec
    from postq.registry.corpora import resolve_corpus

    row = resolve_corpus(session, corpus)
    assert row.id is not None
    return ClassifySpec(
        corpus_id=row.id,
        bundle=bundle,
        only_new=only_new,
        max_tokens_per_batch=batch_tokens,
        precision=precision,
    )
