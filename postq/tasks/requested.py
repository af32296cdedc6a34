"""Which documents a request is about, and reading them."""

from collections.abc import Iterator, Sequence

from postq.contracts.document import Document
from postq.contracts.recipes import TextView
from postq.contracts.runner import RunRequest
from postq.corpus.snapshot import read_documents


def requested_rows(request: RunRequest) -> Sequence[int]:
    """The snapshot rows of a request, in order."""
    return request.rows if request.rows is not None else range(request.start_row, request.stop_row)


def requested_documents(request: RunRequest, *, view: TextView) -> Iterator[Document]:
    """The documents of a request with the text a bundle was trained on, streamed."""
    return read_documents(
        request.snapshot,
        start_row=request.start_row,
        stop_row=request.stop_row,
        rows=request.rows,
        view=view,
    )
