"""`postq bundles ensemble`: bundles combined into one that is used like any other."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from postq.cli import options
from postq.cli.bundles.name import checked_name
from postq.cli.bundles.rethreshold import Method
from postq.cli.command import ON_DATABASE, command
from postq.cli.invocation import invocation_of
from postq.cli.printing.terminal import say, show_json
from postq.errors import BadInput

if TYPE_CHECKING:
    from postq.learning.bundle import Bundle

DEFER_SHARE = 0.2


@command(
    "ensemble",
    examples=(
        "postq bundles ensemble opinions-tfidf opinions-longformer --name opinions-both",
        "postq bundles ensemble @production job:12 --name careful --method and",
        "postq bundles ensemble opinions-tfidf opinions-longformer --name quick --method cascade",
        "postq bundles ensemble words bigrams opinions-longformer --name stacked --method stacking",
    ),
    exits=(3, 4, 5, 8, *ON_DATABASE),
)
def ensemble(
    ctx: typer.Context,
    *,
    bundles: Annotated[
        list[str],
        typer.Argument(
            metavar="BUNDLE",
            help="Two or more, of the same labels and split; each its number, NAME, @ALIAS or job:N.",
            show_default=False,
        ),
    ],
    name: Annotated[str, typer.Option(metavar="NAME", help="Name of the new bundle.", show_default=False)],
    method: Annotated[
        Literal["mean_logit", "stacking", "cascade", "and", "or"],
        typer.Option(
            help="Weighted mean of two bundles' logits; a model over the logits of two or more; the first "
            "bundle and, where it is in doubt, the second; what all predict; or what any predicts."
        ),
    ] = "mean_logit",
    thresholds: Annotated[
        Method | None,
        typer.Option(
            help="How thresholds are tuned. [default: micro_macro; half for cascade, and, or]",
            show_default=False,
        ),
    ] = None,
    defer_share: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Share of documents a cascade defers to the second bundle. [default: 0.2]",
            show_default=False,
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Combine bundles into one, from the scores they keep; needs no device.

    All must predict the same labels and have divided the documents in the same way. Weights and thresholds
    are chosen on documents that all scored without having learned from them. The new bundle holds them all.
    """
    from postq.db import database_now
    from postq.learning.bundle import open_bundle
    from postq.learning.ensemble.making import make_ensemble
    from postq.registry.bundles import resolve_bundle
    from postq.registry.derived import drafted, keep_bundle

    share, chosen = _share(defer_share, method), checked_name(name)
    invocation = invocation_of(ctx)
    home = invocation.settings.home
    with invocation.database.reading() as session:
        rows = [resolve_bundle(session, reference) for reference in bundles]
    members = [open_bundle(home / row.path, expected_digest=row.digest) for row in rows]

    def make(folder: Path) -> "Bundle":
        return make_ensemble(
            members, name=chosen, output=folder, method=method, thresholds=thresholds, defer_share=share
        )

    with drafted(home, make) as made, invocation.database.transaction() as session:
        row = keep_bundle(session, made, home=home, parents=rows, now=database_now(session))
        told = {
            "bundle": row.id,
            "name": row.name,
            "digest": row.digest,
            "fingerprint": row.fingerprint.hex(),
            "members": [member.id for member in rows],
            "method": method,
        }
    if json:
        show_json(told)
        return
    named = ", ".join(str(member.id) for member in rows[:-1])
    say(f"Bundle {told['bundle']}, {chosen}, combines bundles {named} and {rows[-1].id}.")


def _share(given: float | None, method: str) -> float:
    if given is None:
        return DEFER_SHARE
    if method != "cascade":
        raise BadInput(
            f"--defer-share is for cascades, not for {method}.", hint="Leave it out, or use --method cascade."
        )
    if not 0 < given < 1:
        raise BadInput(
            f"{given:g} is not a share of documents to defer.",
            hint="Give one between 0 and 1, such as 0.2; for all documents use the second bundle alone.",
        )
    return given
