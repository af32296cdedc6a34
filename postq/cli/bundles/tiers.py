"""`postq bundles tiers`: how far each label of a bundle may be trusted alone."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from postq.cli import options
from postq.cli.command import ON_DATABASE, command
from postq.cli.invocation import invocation_of
from postq.cli.printing.column import Column
from postq.cli.printing.listing import Listing
from postq.cli.printing.terminal import say
from postq.counted import counted
from postq.errors import BadInput

if TYPE_CHECKING:
    from postq.learning.tiers import LabelTier, TierLevels

STYLES = {"auto": "green", "assisted": "cyan", "review": "yellow", "manual": "red"}

LISTING: "Listing[LabelTier]" = Listing(
    name="bundles tiers",
    empty="The bundle has no labels.",
    columns=(
        Column(key="label", meaning="label", value=lambda t: t.label, heading="Label", flexible=True),
        Column(
            key="tier",
            meaning="`auto`, `assisted`, `review` or `manual`",
            value=lambda t: t.tier.value,
            heading="Tier",
            style=lambda t: STYLES[t.tier.value],
        ),
        Column(
            key="lower",
            meaning="lower end of the 95 % interval of its precision, or null: the gate",
            value=lambda t: t.lower,
            heading="At least",
            cell=lambda t: _share(t.lower),
            right=True,
        ),
        Column(
            key="precision",
            meaning="share of its predictions that were right, or null",
            value=lambda t: t.precision,
            heading="Precision",
            cell=lambda t: _share(t.precision),
            right=True,
        ),
        Column(
            key="upper",
            meaning="upper end of the interval, or null",
            value=lambda t: t.upper,
            heading="At most",
            cell=lambda t: _share(t.upper),
            right=True,
        ),
        Column(
            key="predicted",
            meaning="documents it was predicted for",
            value=lambda t: t.predicted,
            heading="Predicted",
            right=True,
        ),
        Column(key="hits", meaning="how many of these were right", value=lambda t: t.hits),
        Column(
            key="support",
            meaning="documents that truly carry it",
            value=lambda t: t.support,
            heading="True",
            right=True,
        ),
        Column(key="split", meaning="split the evidence is from", value=lambda t: t.split),
    ),
)

Levels = Annotated[
    str,
    typer.Option(
        metavar="LOW,HIGH", help="Precision a label must surely reach to be assisted, and to be automatic."
    ),
]


@command(
    "tiers",
    examples=("postq bundles tiers @production", "postq bundles tiers @production --levels 0.7,0.95 --json"),
    exits=(3, 4, 5, 8, *ON_DATABASE),
)
def tiers(
    ctx: typer.Context,
    *,
    bundle: options.BundleReference,
    levels: Levels = "0.63,0.93",
    json: options.Json = False,
) -> None:
    """Show which labels may be applied unseen, suggested, reviewed, or are left to people.

    Gated on the lower bound of each label's precision at the bundle's thresholds, on its test split.
    """
    from postq.learning.bundle import open_bundle
    from postq.learning.rejudging import read_metrics
    from postq.learning.tiers import label_tiers
    from postq.registry.bundles import resolve_bundle

    wanted = parse_levels(levels)
    invocation = invocation_of(ctx)
    with invocation.database.reading() as session:
        row = resolve_bundle(session, bundle)
    opened = open_bundle(invocation.settings.home / row.path, expected_digest=row.digest)
    found = label_tiers(read_metrics(opened), levels=wanted)
    LISTING.show(found, json=json)
    if not json:
        counts = Counter(each.tier.value for each in found)
        told = ", ".join(f"{counts[name]} {name}" for name in STYLES)
        tuned = "" if found[0].split == "test" else ", which thresholds were tuned on"
        say(f"Of {counted(len(found), 'label')}: {told}; judged on the {found[0].split} split{tuned}.")


def parse_levels(text: str) -> "TierLevels":
    """`0.63,0.93` as levels. Raises BadInput."""
    from postq.learning.tiers import TierLevels

    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as exc:
        raise BadInput(
            f"'{text}' is not two levels.", hint="Write a lower and a higher one, such as 0.63,0.93."
        ) from exc
    return TierLevels(assisted=low, auto=high)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
