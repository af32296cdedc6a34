"""Reading a user's file of label facets: YAML or JSON, in the form a data team writes by hand."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from postq.cli.printing.terminal import note
from postq.corpus.normalise import clean_line
from postq.errors import BadInput

if TYPE_CHECKING:
    from postq.contracts.facets import Facets

MOST_BYTES = 2**20
FIELDS: Mapping[str, tuple[str, ...]] = {
    "facets": ("facets", "facet", "f"),
    "group": ("group", "g"),
    "parents": ("parents", "parent", "is_a"),
}
"""What is read of a label, under any of these keys; other keys are passed over and named in a note."""
HINT = "docs/rules.md shows the form of the file."


def read_facets(path: Path) -> "Facets":
    """The facets in a file; says which keys were passed over.

    Raises BadInput for a file that is missing, larger than MOST_BYTES, not YAML or JSON, of another form, or
    whose labels do not fit together.
    """
    from pydantic import ValidationError

    from postq.contracts.facets import Facets

    raw = _parsed(path)
    labels = raw.get("labels") if isinstance(raw, dict) else None
    if not isinstance(labels, dict | list) or not labels:
        raise BadInput(f"{path} has no `labels:` with labels below it.", hint=HINT)
    entries = [_entry(name, fields, path) for name, fields in _named(labels, path)]
    _check_facets(raw.get("facets"), entries, path)
    passed_over = sorted({key for _, unread in entries for key in unread})
    try:
        found = Facets.model_validate({"labels": [entry for entry, _ in entries]})
    except ValidationError as exc:
        raise BadInput(f"{path} cannot be used: {_first(exc)}.", hint=HINT) from exc
    if passed_over:
        note(f"{path.name}: {found.sentence()}; not read: {', '.join(passed_over[:10])}.")
    return found


def _parsed(path: Path) -> Any:
    import yaml

    from postq.cli.bundles.unique_keys import UniqueKeys

    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadInput(
                f"{path} is larger than {MOST_BYTES // 2**20} MiB.", hint="Keep to labels and facets."
            )
        return yaml.load(path.read_text(encoding="utf-8"), Loader=UniqueKeys)  # noqa: S506 (a SafeLoader)
    except OSError as exc:
        raise BadInput(f"{path} cannot be read: {exc.strerror or exc}.", hint="Check the path.") from exc
    except (yaml.YAMLError, ValueError, RecursionError) as exc:
        where = getattr(exc, "problem_mark", None)
        told = f", line {where.line + 1}: {getattr(exc, 'problem', '')}" if where else ""
        raise BadInput(f"{path} is not YAML or JSON{told}.", hint=HINT) from exc


def _named(labels: Any, path: Path) -> list[tuple[str, Any]]:
    """(name, what is said of it), from `name: {…}` or from `- {name: …}`."""
    if isinstance(labels, list):
        if not all(isinstance(one, dict) and "name" in one for one in labels):
            raise BadInput(f"{path}: a label in the list of `labels:` has no `name:`.", hint=HINT)
        pairs = [(one["name"], {key: value for key, value in one.items() if key != "name"}) for one in labels]
    else:
        pairs = list(labels.items())
    for name, _ in pairs:
        if not isinstance(name, str):
            raise BadInput(
                f"{path}: a label is read as {type(name).__name__} and not as text.", hint="Put it in quotes."
            )
    return pairs


def _entry(name: str, fields: Any, path: Path) -> tuple[dict[str, Any], list[str]]:
    """The label for the record, and keys that were passed over; `label: motion` names its facet alone."""
    if fields is None:
        fields = {}
    if isinstance(fields, str | list):
        fields = {"facets": fields}
    if not isinstance(fields, dict):
        raise BadInput(f"{path}: what is said of '{name}' is neither a name nor a table.", hint=HINT)
    entry: dict[str, Any] = {"label": clean_line(name)}
    for field, keys in FIELDS.items():
        given = [key for key in keys if fields.get(key) is not None]
        if len(given) > 1:
            raise BadInput(f"{path}: '{name}' has both `{given[0]}` and `{given[1]}`.", hint="Keep one.")
        if given:
            entry[field] = _names(fields[given[0]], name, path, one=field == "group")
    read = {key for keys in FIELDS.values() for key in keys}
    return entry, [str(key) for key in fields if key not in read]


def _names(value: Any, label: str, path: Path, *, one: bool) -> Any:
    listed = value if isinstance(value, list) and not one else [value]
    if not all(isinstance(each, str) and each.strip() for each in listed):
        raise BadInput(
            f"{path}: a facet, group or parent of '{label}' is no name.",
            hint="Names are text; put it in quotes.",
        )
    names = tuple(dict.fromkeys(map(clean_line, listed)))
    return names[0] if one else names


def _check_facets(known: Any, entries: list[tuple[dict[str, Any], list[str]]], path: Path) -> None:
    """Where the file lists its facets, a label may have no other: a typing error would make a new one."""
    if known is None:
        return
    if not isinstance(known, list):
        raise BadInput(f"{path}: `facets:` is not a list of names.", hint=HINT)
    for entry, _ in entries:
        strange = set(entry.get("facets", ())) - {each for each in known if isinstance(each, str)}
        if strange:
            raise BadInput(
                f"{path}: '{entry['label']}' is of facet '{min(strange)}', which `facets:` does not list.",
                hint="Add it to the list, or mend the name.",
            )


def _first(exc: Any) -> str:
    """The first fault, in words."""
    fault = exc.errors()[0]
    text = str(fault["msg"]).removeprefix("Value error, ")
    where = ".".join(str(part) for part in fault["loc"])
    return f"{where}: {text[:1].lower()}{text[1:]}" if where else text
