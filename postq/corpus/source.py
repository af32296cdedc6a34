"""Any corpus source as one stream of records: which form a file has, and the reader for it."""

import re
from collections.abc import Iterator, Sequence
from enum import StrEnum

from postq.corpus.csv_rows import read_csv
from postq.corpus.fields import Columns
from postq.corpus.jsonl import BOM, read_generic_lines, read_source_lines
from postq.corpus.location import Input, Location, locate
from postq.corpus.parquet_rows import read_parquet
from postq.corpus.records import RawRecord, SetAside
from postq.corpus.streams import CODECS, ByteStream, Meter, open_stream, refuse_binary
from postq.corpus.text_files import read_text_files
from postq.errors import BadInput, CorpusUnreadable


class SourceForm(StrEnum):
    """The forms a corpus may come in."""

    SOURCE = "source"  # JSON lines with documentId, postures, sections[{headtext, paragraphs[]}]
    JSONL = "jsonl"  # JSON lines with named text, labels and id fields
    CSV = "csv"  # CSV (or TSV, by suffix) with a header
    PARQUET = "parquet"
    TEXT = "text"  # a folder of .txt files, or one of them


_BY_SUFFIX = {
    ".csv": SourceForm.CSV,
    ".tsv": SourceForm.CSV,
    ".parquet": SourceForm.PARQUET,
    ".pq": SourceForm.PARQUET,
    ".txt": SourceForm.TEXT,
}
_LINE_SUFFIXES = {".jsonl", ".ndjson", ".json", ".jl"}
_LIST_OF_OBJECTS = re.compile(rb"\[\s*(?:\{|$)")
_SOURCE_KEY = re.compile(rb'(?<!\\)"(?:sections|documentId|postures)"\s*:')


def locate_inputs(inputs: Sequence[Input], *, roots: Sequence[str] = ()) -> list[Location]:
    """Find every input before the first is read, so that a misspelt second file costs no time."""
    if not inputs:
        raise BadInput("No file or folder was given.", hint="Name at least one file, folder or URL to read.")
    return [locate(item.path, roots=roots) for item in inputs]


def total_bytes(locations: Sequence[Location]) -> int | None:
    """Stored bytes of all inputs; None when one of them is a folder or does not tell."""
    sizes = [None if place.is_folder else place.size_bytes() for place in locations]
    return None if None in sizes else sum(size for size in sizes if size is not None)


def read_source(
    inputs: Sequence[Input],
    *,
    form: SourceForm | None = None,
    columns: Columns | None = None,
    roots: Sequence[str] = (),
    meter: Meter | None = None,
) -> Iterator[RawRecord | SetAside]:
    """Yield each record of each input, in order, or what was set aside in its place.

    `form` None tells each input's form by itself. Raises BadInput outside `roots`, ExtraMissing without a
    driver, CorpusUnreadable for a file that is missing, empty, binary, cut off or of another form.
    """
    meter = meter or Meter()
    columns = columns or Columns()
    locations = locate_inputs(inputs, roots=roots)
    meter.bytes_total = total_bytes(locations)
    for item, place in zip(inputs, locations, strict=True):
        done_before = meter.bytes_done
        chosen = form or form_by_name(place)
        yield from _read_one(item, place, form=chosen, columns=columns, roots=roots, meter=meter)
        if meter.bytes_total is not None:
            meter.bytes_done = done_before + (place.size_bytes() or 0)


def form_by_name(place: Location) -> SourceForm | None:
    """The form a folder or a suffix stands for; None when the first bytes must tell."""
    if place.is_folder:
        return SourceForm.TEXT
    suffixes = [suffix for suffix in place.suffixes if suffix not in CODECS]
    return _BY_SUFFIX.get(suffixes[-1]) if suffixes else None


def form_by_content(stream: ByteStream) -> SourceForm:
    """Tell source form and generic JSON lines apart by the first bytes.

    Raises CorpusUnreadable when they do not look like JSON lines at all, or like one JSON list of objects.
    """
    start = stream.head.removeprefix(BOM).lstrip()
    if _LIST_OF_OBJECTS.match(start):
        raise CorpusUnreadable(
            f"'{stream.name}' is one JSON list, not one object per line.",
            hint="Write one object per line instead, such as with: jq -c '.[]' FILE > FILE.jsonl.",
        )
    if _SOURCE_KEY.search(stream.head):
        return SourceForm.SOURCE
    if start.startswith(b"{") or any(stream.name.lower().endswith(suffix) for suffix in _all_line_suffixes()):
        return SourceForm.JSONL
    raise CorpusUnreadable(
        f"The form of '{stream.name}' cannot be told from its name or its first bytes.",
        hint="Give the form: source, jsonl, csv, parquet or text.",
    )


def _all_line_suffixes() -> set[str]:
    return {suffix + codec for suffix in _LINE_SUFFIXES for codec in ("", *CODECS)}


def _read_one(
    item: Input,
    place: Location,
    *,
    form: SourceForm | None,
    columns: Columns,
    roots: Sequence[str],
    meter: Meter,
) -> Iterator[RawRecord | SetAside]:
    if form is SourceForm.PARQUET:
        meter.forms.add(form)
        yield from read_parquet(place, columns=columns, split=item.split, meter=meter)
    elif form is SourceForm.TEXT:
        meter.forms.add(form)
        yield from read_text_files(place, roots=roots, split=item.split, meter=meter)
    else:
        with open_stream(place, meter=meter) as stream:
            refuse_binary(stream)
            chosen = form or form_by_content(stream)
            meter.forms.add(chosen)
            yield from _read_lines(stream, item, form=chosen, columns=columns)


def _read_lines(
    stream: ByteStream, item: Input, *, form: SourceForm, columns: Columns
) -> Iterator[RawRecord | SetAside]:
    if form is SourceForm.SOURCE:
        yield from read_source_lines(stream, split=item.split)
    elif form is SourceForm.JSONL:
        yield from read_generic_lines(stream, columns=columns, split=item.split)
    else:
        separator = "\t" if ".tsv" in stream.name.lower() else ","
        yield from read_csv(stream, columns=columns, split=item.split, separator=separator)
