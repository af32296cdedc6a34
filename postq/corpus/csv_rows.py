"""CSV and TSV with a header, row by row.

The standard library's parser is used rather than Arrow's: Arrow decodes by block, so that one bad byte costs
the whole file, where here it costs its row. A quote that is not closed costs the file all the same: it takes
in every row up to the next quote, and how many they were cannot be known.
"""

import csv
from collections.abc import Iterator
from typing import Any

from postq.contracts.document import SplitName
from postq.corpus.fields import Columns
from postq.corpus.jsonl import BOM, known_id, record_of_columns
from postq.corpus.lines import MAX_RECORD_BYTES, bounded_lines
from postq.corpus.normalise import clean_line
from postq.corpus.records import RawRecord, SetAside, SetAsideReason, UnfitRecord
from postq.corpus.streams import ByteStream
from postq.errors import CorpusUnreadable

OTHER_SEPARATORS = ";\t|"
"""Tried on a header that is one single cell, which no usable file has: an id and a text are two."""


def read_csv(
    stream: ByteStream, *, columns: Columns, split: SplitName | None = None, separator: str = ","
) -> Iterator[RawRecord | SetAside]:
    """Read rows under the header's names; a quoted cell may span lines. Rows are numbered from the header, 1.

    Raises CorpusUnreadable when the header lacks a column, or a cell over several lines does not end well.
    """
    csv.field_size_limit(MAX_RECORD_BYTES)
    lines = _Lines(stream)
    rows = _rows(csv.reader(lines, delimiter=separator, strict=True), lines)
    header = next(rows, None)
    if isinstance(header, csv.Error) or (header and len(header) == 1):
        # `"id";"text"` is no row at all to a parser that looks for commas.
        line = header[0] if isinstance(header, list) else lines.latest
        cells, separator = _split_anew(line, separator)
        header = cells if len(cells) > 1 else header
        rows = _rows(csv.reader(lines, delimiter=separator, strict=True), lines)
    if not isinstance(header, list):
        raise CorpusUnreadable(
            f"'{stream.name}' has no CSV header on its first line.",
            hint="Write the column names on the first line, in UTF-8.",
        )
    names = [clean_line(name) for name in header]
    require_columns(names, columns=columns, source=stream.name)
    for row in rows:
        yield from lines.take_set_aside()
        number = max(lines.number, 2)
        try:
            fields = _fields(row, names)
            identifier = known_id(fields.get(columns.id))
        except UnfitRecord as unfit:
            yield unfit.set_aside(stream.name, number)
            continue
        try:
            yield record_of_columns(fields, columns=columns, source=stream.name, number=number, split=split)
        except UnfitRecord as unfit:
            unfit.document_id = identifier
            yield unfit.set_aside(stream.name, number)
    yield from lines.take_set_aside()


def _split_anew(header: str, separator: str) -> tuple[list[str], str]:
    """The header's cells under whichever separator makes the most of it: spreadsheets often write `;`."""
    cut = {mark: _cells(header, mark) for mark in (separator, *OTHER_SEPARATORS)}
    best = max(cut, key=lambda mark: len(cut[mark]))
    return cut[best], best


def _cells(header: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([header], delimiter=separator), [])
    except csv.Error:  # such as a line that ends by a carriage return alone
        return []


def require_columns(names: list[str], *, columns: Columns, source: str) -> None:
    """Raise CorpusUnreadable naming the columns that are missing, and those that are there, or there twice.

    Of two columns with one name only one would be read, and the labels of the other lost without a word.
    """
    read = (columns.id, columns.text, columns.labels, columns.split)
    twice = sorted({name for name in read if names.count(name) > 1})
    if twice:
        raise CorpusUnreadable(
            f"'{source}' has more than one column {' and more than one column '.join(map(repr, twice))}.",
            hint="Give each a name of its own, or put the labels of all into one column.",
        )
    missing = sorted(columns.required - set(names))
    if missing:
        shown = ", ".join(names[:20])
        raise CorpusUnreadable(
            f"'{source}' has no column {' and no column '.join(repr(name) for name in missing)}.",
            hint=f"Name the columns for text, id and labels; the file has: {shown}.",
        )


class _Lines:
    """Feeds the CSV parser one decoded line at a time and keeps those that were too long for it."""

    def __init__(self, stream: ByteStream) -> None:
        self.number = 0
        self.latest = ""
        self.name = stream.name
        self.row_line: int | None = None
        """Where the row being read began."""
        self.quote_line = 0
        """Where the quote opens that is still open if the parser asks for more."""
        self.ended = False
        self._lines = bounded_lines(stream.chunks())
        self._too_long: list[SetAside] = []

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.number += 1
            if line is None:
                detail = "the line is larger than the cap on one record"
                unfit = UnfitRecord(SetAsideReason.TOO_LONG, detail)
                self._too_long.append(unfit.set_aside(self.name, self.number))
                continue
            text = line.removeprefix(BOM) if self.number == 1 else line
            # Bytes that are not UTF-8 travel as lone surrogates, so that only their own row is set aside.
            self.latest = text.decode("utf-8", errors="surrogateescape") + "\n"
            self._follow_quotes()
            yield self.latest
        self.ended = True

    def begin_row(self) -> None:
        """The next line begins a row."""
        self.row_line = None

    def _follow_quotes(self) -> None:
        """A line within a row begins inside a quoted cell; if it closes that one, a later quote is open."""
        if self.row_line is None:
            self.row_line = self.quote_line = self.number
        elif '"' in self.latest.replace('""', ""):
            self.quote_line = self.number

    def take_set_aside(self) -> list[SetAside]:
        taken, self._too_long = self._too_long, []
        return taken


def _rows(reader: Any, lines: _Lines) -> Iterator[list[str] | csv.Error]:
    """The parser's rows, blank lines left out; an error stands for the row it spoiled, which is one line."""
    while True:
        lines.begin_row()
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            _refuse_swallowed_rows(exc, lines)
            yield exc
            continue
        if row:
            yield row


def _refuse_swallowed_rows(error: csv.Error, lines: _Lines) -> None:
    """Raise CorpusUnreadable where a quote may have taken in rows that come after its own."""
    if lines.ended:
        raise CorpusUnreadable(
            f"'{lines.name}' ends inside a quoted cell: the quote opens on line {lines.quote_line:,}.",
            hint='Close it where the cell ends; within a quoted cell a quote is written twice ("").',
        ) from error
    if lines.row_line != lines.number:
        raise CorpusUnreadable(
            f"'{lines.name}' is not CSV from line {lines.row_line:,} to {lines.number:,}: {error}.",
            hint='Close its quotes where the cells end; within a quoted cell a quote is written twice ("").',
        ) from error


def _fields(row: list[str] | csv.Error, names: list[str]) -> dict[str, Any]:
    if isinstance(row, csv.Error):
        too_long = "field limit" in str(row)
        reason = SetAsideReason.TOO_LONG if too_long else SetAsideReason.BAD_RECORD
        raise UnfitRecord(reason, f"not CSV: {row}")
    if len(row) != len(names):
        raise UnfitRecord(SetAsideReason.BAD_RECORD, f"{len(row)} cells under a header of {len(names)}")
    if any(not _is_utf8(cell) for cell in row):
        raise UnfitRecord(SetAsideReason.INVALID_UTF8, "a cell is not UTF-8")
    return dict(zip(names, row, strict=True))


def _is_utf8(cell: str) -> bool:
    if cell.isascii():
        return True
    try:
        cell.encode()
    except UnicodeEncodeError:
        return False
    return True
