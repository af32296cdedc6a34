"""The listing of bundles: one row a bundle, with the aliases that point at it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from postq.cli.printing.column import Column
from postq.cli.printing.listing import Listing
from postq.cli.printing.wording import size

if TYPE_CHECKING:
    from postq.models import BundleRow


@dataclass(frozen=True, kw_only=True)
class ListedBundle:
    """A bundle with the aliases that point at it."""

    row: "BundleRow"
    aliases: tuple[str, ...]


LISTING: Listing[ListedBundle] = Listing(
    name="bundles list",
    empty="There are no bundles yet; `postq submit-train` makes one.",
    columns=(
        Column(key="bundle", meaning="number", value=lambda b: b.row.id, heading="Bundle", right=True),
        Column(
            key="name",
            meaning="name given at training",
            value=lambda b: b.row.name,
            heading="Name",
            flexible=True,
        ),
        Column(
            key="aliases",
            meaning="aliases that point at it",
            value=lambda b: list(b.aliases),
            heading="Alias",
            cell=lambda b: " ".join(f"@{name}" for name in b.aliases),
            style=lambda _: "cyan",
        ),
        Column(
            key="kind", meaning="`tfidf`, `encoder` or `ensemble`", value=lambda b: b.row.kind, heading="Kind"
        ),
        Column(
            key="labels",
            meaning="how many labels it predicts",
            value=lambda b: len(b.row.labels),
            heading="Labels",
            right=True,
        ),
        Column(
            key="size_bytes",
            meaning="size of its folder",
            value=lambda b: b.row.size_bytes,
            heading="Size",
            cell=lambda b: size(b.row.size_bytes),
            right=True,
        ),
        Column(
            key="job",
            meaning="training job, or null",
            value=lambda b: b.row.job_id,
            heading="Job",
            right=True,
        ),
        Column(
            key="test_touches",
            meaning="how often its test split was evaluated since its training, which did so once",
            value=lambda b: b.row.test_touches,
        ),
        Column(key="digest", meaning="SHA-256 over its files", value=lambda b: b.row.digest),
        Column(
            key="fingerprint",
            meaning="identifies what it predicts, in hex",
            value=lambda b: b.row.fingerprint,
        ),
        Column(key="path", meaning="its folder, relative to home", value=lambda b: b.row.path),
        Column(key="metrics", meaning="the small summary of its metrics", value=lambda b: b.row.metrics),
        Column(key="created_at", meaning="when it was registered", value=lambda b: b.row.created_at),
    ),
)
