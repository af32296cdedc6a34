"""JSON lines: the source form of judicial opinions (sections of paragraphs) and the generic form."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from postq.contracts.document import SplitName
from postq.corpus.fields import Columns, parse_id, parse_label_list, parse_labels, parse_split, parse_text
from postq.corpus.lines import bounded_lines
from postq.corpus.normalise import clean_line
from postq.corpus.records import RawRecord, Section, SetAside, SetAsideReason, UnfitRecord
from postq.corpus.streams import ByteStream

BOM = b"\xef\xbb\xbf"
MAX_NAMES = 8
MAX_NAME = 30
"""Field names told of a record that lacks one, and characters of each: names may be anything, even texts."""
JsonObject = dict[str, Any]


def read_source_lines(
    stream: ByteStream, *, split: SplitName | None = None
) -> Iterator[RawRecord | SetAside]:
    """Read the source form: `documentId`, `postures`, `sections[{headtext, paragraphs[]}]`."""

    def build(fields: JsonObject, number: int, identifier: str) -> RawRecord:
        _require(fields, "sections", reason=SetAsideReason.MISSING_TEXT)
        return RawRecord(
            source=stream.name,
            number=number,
            document_id=identifier,
            sections=_sections(fields["sections"]),
            labels=parse_label_list(fields.get("postures"), field="postures"),
            split=parse_split(fields.get("split"), given=split),
        )

    yield from _read(stream, id_field="documentId", build=build)


def read_generic_lines(
    stream: ByteStream, *, columns: Columns, split: SplitName | None = None
) -> Iterator[RawRecord | SetAside]:
    """Read one object per line with the fields `columns` names; a text's paragraphs end at blank lines."""

    def build(fields: JsonObject, number: int, identifier: str) -> RawRecord:
        _require(fields, columns.text, reason=SetAsideReason.MISSING_TEXT)
        return record_of_columns(fields, columns=columns, source=stream.name, number=number, split=split)

    yield from _read(stream, id_field=columns.id, build=build)


def record_of_columns(
    fields: JsonObject, *, columns: Columns, source: str, number: int, split: SplitName | None
) -> RawRecord:
    """A record from named fields, as generic JSON lines, CSV and Parquet give them."""
    return RawRecord(
        source=source,
        number=number,
        document_id=parse_id(fields.get(columns.id)),
        sections=(
            Section(heading=None, paragraphs=parse_text(fields.get(columns.text), field=columns.text)),
        ),
        labels=parse_labels(fields.get(columns.labels), columns=columns),
        split=parse_split(fields.get(columns.split), given=split),
    )


def known_id(value: Any) -> str | None:
    """The id of a record that is about to be set aside, if it has a usable one."""
    try:
        return parse_id(value)
    except UnfitRecord:
        return None


def _read(
    stream: ByteStream, *, id_field: str, build: Callable[[JsonObject, int, str], RawRecord]
) -> Iterator[RawRecord | SetAside]:
    """Number the lines and turn each that is not blank into a record or a set-aside record."""
    for number, line in enumerate(bounded_lines(stream.chunks()), start=1):
        if line is not None and not line.strip():
            continue
        identifier = None
        try:
            fields = _parse_line(line.removeprefix(BOM) if number == 1 and line else line)
            _require(fields, id_field, reason=SetAsideReason.MISSING_ID)
            identifier = known_id(fields[id_field])
            yield build(fields, number, parse_id(fields[id_field]))
        except UnfitRecord as unfit:
            unfit.document_id = unfit.document_id or identifier
            yield unfit.set_aside(stream.name, number)


def _require(fields: JsonObject, name: str, *, reason: SetAsideReason) -> None:
    """Say which fields there are when the one looked for is not: its name is what people get wrong."""
    if name not in fields:
        there = ", ".join(f"'{clean_line(field)[:MAX_NAME]}'" for field in list(fields)[:MAX_NAMES])
        raise UnfitRecord(reason, f"no '{name}' among {there}" if there else "the object is empty")


def _parse_line(line: bytes | None) -> JsonObject:
    if line is None:
        raise UnfitRecord(SetAsideReason.TOO_LONG, "the line is larger than the cap on one record")
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as exc:
        raise UnfitRecord(SetAsideReason.INVALID_UTF8, f"byte {exc.start} of the line is not UTF-8") from exc
    except json.JSONDecodeError as exc:
        raise UnfitRecord(
            SetAsideReason.BAD_RECORD,
            f"not JSON: {exc.msg} character {exc.pos}" if exc.msg.endswith(" at") else f"not JSON: {exc.msg}",
        ) from exc
    except (ValueError, RecursionError) as exc:
        raise UnfitRecord(
            SetAsideReason.BAD_RECORD, "JSON with a number or nesting beyond all bounds"
        ) from exc
    if not isinstance(value, dict):
        raise UnfitRecord(SetAsideReason.BAD_RECORD, "the line is not a JSON object")
    return value


def _sections(value: Any) -> tuple[Section, ...]:
    if value is None:
        raise UnfitRecord(SetAsideReason.MISSING_TEXT, "no 'sections'")
    if not isinstance(value, list):
        raise UnfitRecord(SetAsideReason.WRONG_TYPE, "'sections' is not a list")
    return tuple(_section(item, place) for place, item in enumerate(value))


def _section(value: Any, place: int) -> Section:
    if not isinstance(value, dict):
        raise UnfitRecord(SetAsideReason.WRONG_TYPE, f"section {place} is not an object")
    heading = value.get("headtext")
    paragraphs = value.get("paragraphs")
    if heading is not None and not isinstance(heading, str):
        raise UnfitRecord(SetAsideReason.WRONG_TYPE, f"'headtext' of section {place} is not a string")
    if paragraphs is None:
        paragraphs = []
    if not isinstance(paragraphs, list) or not all(isinstance(item, str) for item in paragraphs):
        raise UnfitRecord(
            SetAsideReason.WRONG_TYPE, f"'paragraphs' of section {place} is not a list of strings"
        )
    return Section(heading=heading, paragraphs=tuple(paragraphs))
