"""`postq bundles suspects`: given labels of a bundle's corpus that are probably errors."""

from typing import TYPE_CHECKING, Annotated

import typer

from postq.cli import options
from postq.cli.command import ON_DATABASE, command
from postq.cli.invocation import invocation_of
from postq.cli.printing.column import Column
from postq.cli.printing.listing import Listing
from postq.cli.printing.listing_file import Output, form_of, write_listing
from postq.cli.printing.terminal import note, say
from postq.counted import counted

if TYPE_CHECKING:
    from postq.learning.suspects import Suspect, Suspects

PROBLEMS = {"missing": "probably missing", "wrong": "probably wrong"}

LISTING: "Listing[Suspect]" = Listing(
    name="bundles suspects",
    empty="No given label is doubtful.",
    columns=(
        Column(
            key="rank",
            meaning="from 1, the most doubtful",
            value=lambda s: s.rank,
            heading="Rank",
            right=True,
        ),
        Column(
            key="document",
            meaning="document id",
            value=lambda s: s.document_id,
            heading="Document",
            flexible=True,
        ),
        Column(key="label", meaning="label", value=lambda s: s.label, heading="Label", flexible=True),
        Column(
            key="problem",
            meaning="`missing`: not given, but probably true; `wrong`: given, but probably false",
            value=lambda s: s.problem,
            heading="Given label is",
            cell=lambda s: PROBLEMS[s.problem],
            style=lambda s: "cyan" if s.problem == "missing" else "yellow",
        ),
        Column(
            key="margin",
            meaning="probability of what is given minus that of the other, from -1",
            value=lambda s: round(s.margin, 6),
            heading="Margin",
            cell=lambda s: f"{s.margin:.3f}",
            right=True,
        ),
        Column(
            key="score",
            meaning="honest probability of the label",
            value=lambda s: round(s.score, 6),
            heading="Score",
            cell=lambda s: f"{s.score:.3f}",
            right=True,
        ),
        Column(
            key="model",
            meaning="`main`, or `baseline` for documents the main model has learned from",
            value=lambda s: s.model,
        ),
    ),
)


@command(
    "suspects",
    examples=(
        "postq bundles suspects @production",
        "postq bundles suspects baseline --limit 500 --output suspects.csv",
    ),
    exits=(3, 4, 5, 8, *ON_DATABASE),
)
def suspects(
    ctx: typer.Context,
    *,
    bundle: options.BundleReference,
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1_000_000, help="Most suspects.")] = 20,
    output: Output = None,
    json: options.Json = False,
) -> None:
    """Rank labels of the training corpus that are probably wrong, or probably missing.

    Confident learning on the honest scores the bundle keeps: out of fold, or of validation documents. The
    test split is left alone. Needs no device.
    """
    from postq.learning.bundle import open_bundle
    from postq.learning.suspects import find_suspects
    from postq.registry.bundles import resolve_bundle

    form = form_of(output)
    invocation = invocation_of(ctx)
    with invocation.database.reading() as session:
        row = resolve_bundle(session, bundle)
    found = find_suspects(open_bundle(invocation.settings.home / row.path, expected_digest=row.digest))
    shown = found.items[:limit]
    if output is not None:
        write_listing(LISTING, shown, output, form=form)
        say(f"Wrote {counted(len(shown), 'suspect')} to {output}.")
        return
    LISTING.show(shown, json=json)
    if not json:
        _tell(found, shown=len(shown))


def _tell(found: "Suspects", *, shown: int) -> None:
    wrong = sum(one.problem == "wrong" for one in found.items)
    missing = len(found.items) - wrong
    say(
        f"Of {counted(found.given, 'label')} given to {counted(found.documents, 'document')} "
        f"{counted(wrong, 'is', 'are')} probably wrong (about {found.expected_wrong:,.0f} expected), and "
        f"{counted(missing, 'is', 'are')} probably missing (about {found.expected_missing:,.0f} expected)."
    )
    if found.labels_left_out:
        note(f"{counted(len(found.labels_left_out), 'label')} left out: given to too few documents to judge.")
    if shown < len(found.items):
        note(f"ends after the first {shown}; --limit shows more, --output writes them to a file.")
