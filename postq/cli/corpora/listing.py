"""The columns of `postq corpus list` and of the records set aside, for people and as JSON."""

from typing import TYPE_CHECKING

from postq.cli.printing.column import Column
from postq.cli.printing.listing import Listing

if TYPE_CHECKING:
    from postq.corpus.records import SetAside
    from postq.models import Corpus

LISTING: "Listing[Corpus]" = Listing(
    name="corpus list",
    empty="There are no corpora yet; add one with `postq corpus add NAME FILE`.",
    columns=(
        Column(key="corpus", meaning="number", value=lambda c: c.id, heading="Corpus", right=True),
        Column(key="name", meaning="name", value=lambda c: c.name, heading="Name", flexible=True),
        Column(
            key="version", meaning="version, from 1", value=lambda c: c.version, heading="Version", right=True
        ),
        Column(
            key="documents", meaning="documents", value=lambda c: c.documents, heading="Documents", right=True
        ),
        Column(
            key="labelled_documents",
            meaning="documents with at least one label",
            value=lambda c: c.labelled_documents,
            heading="Labelled",
            right=True,
        ),
        Column(key="words", meaning="words in all", value=lambda c: c.words, heading="Words", right=True),
        Column(
            key="set_aside",
            meaning="records that did not become documents",
            value=lambda c: c.set_aside,
            heading="Set aside",
            right=True,
            style=lambda c: "yellow" if c.set_aside else "dim",
        ),
        Column(key="source", meaning="what it was read from", value=lambda c: c.source),
        Column(key="digest", meaning="SHA-256 of its documents", value=lambda c: c.digest),
        Column(key="path", meaning="snapshot folder, relative to home", value=lambda c: c.path),
        Column(key="created_at", meaning="when it was added", value=lambda c: c.created_at),
        Column(
            key="facts",
            meaning="label counts, reasons of set-aside records, lengths, official splits",
            value=lambda c: c.facts,
        ),
    ),
)

SET_ASIDE: "Listing[SetAside]" = Listing(
    name="corpus show --set-aside",
    empty="No record was set aside.",
    columns=(
        Column(
            key="source", meaning="file it stands in", value=lambda r: r.source, heading="File", flexible=True
        ),
        Column(
            key="number",
            meaning="line or row, from 1",
            value=lambda r: r.number,
            heading="Record",
            right=True,
        ),
        Column(key="reason", meaning="reason, in one word", value=lambda r: r.reason.value, heading="Reason"),
        Column(
            key="detail",
            meaning="reason, in a phrase",
            value=lambda r: r.detail,
            heading="Detail",
            flexible=True,
        ),
        Column(key="document_id", meaning="id, where it has one", value=lambda r: r.document_id),
    ),
)
