"""From a preset and the flags of `submit-train` to a recipe, with every field reachable by name."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from postq.errors import BadInput
from postq.unfit import in_few_words

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

    from postq.contracts.recipes import Recipe

FIXED = ("model", "preset")
"""Fields a preset decides and no flag changes."""


def recipe_from_flags(preset: str, overrides: Mapping[str, Any]) -> "Recipe":
    """The preset's recipe with `overrides` (dotted field names) put over it.

    Raises NotFound for an unknown preset, BadInput for a field it lacks or a value that does not fit.
    """
    from pydantic import ValidationError

    from postq.contracts.presets import preset_recipe

    recipe = preset_recipe(preset)
    values = recipe.model_dump()
    valid = list(field_names(type(recipe)))
    for name, value in overrides.items():
        _put(values, name, value, valid=valid, preset=preset)
    try:
        return type(recipe).model_validate(values)
    except ValidationError as exc:
        raise _unfit(exc) from exc


def parse_assignments(pairs: Iterable[str], *, beside: Iterable[str] = ()) -> dict[str, Any]:
    """`["epochs=3", "split.seed=7"]` as values; what is not JSON is taken as text.

    Raises BadInput for what is no assignment, and for a field set twice, by itself or by a flag (`beside`).
    """
    found: dict[str, Any] = {}
    for name, value in map(_parse_pair, pairs):
        if name in found or name in beside:
            raise BadInput(f"'{name}' is given twice.", hint="Give it once, as a flag or with --set.")
        found[name] = value
    return found


def field_names(recipe: "type[BaseModel]", *, prefix: str = "") -> Iterator[str]:
    """Every field a flag may set, nested ones dotted, in the order of the class."""
    from pydantic import BaseModel

    for name, field in recipe.model_fields.items():
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, BaseModel):
            yield from field_names(nested, prefix=f"{prefix}{name}.")
        elif prefix or name not in FIXED:
            yield f"{prefix}{name}"


def _parse_pair(pair: str) -> tuple[str, Any]:
    name, equals, text = pair.partition("=")
    if not equals or not name.strip():
        raise BadInput(f"'--set {pair}' is not of the form NAME=VALUE.", hint="Write it as --set epochs=3.")
    try:
        return name.strip(), json.loads(text)
    except ValueError:
        return name.strip(), text


def _put(values: dict[str, Any], name: str, value: Any, *, valid: list[str], preset: str) -> None:
    if name not in valid:
        raise BadInput(
            f"The recipe '{preset}' has no field '{name}'.",
            hint=f"{_nearest(name, valid)}Its fields are: {', '.join(valid)}.",
        )
    *outer, last = name.split(".")
    for part in outer:
        values = values[part]
    values[last] = value


def _nearest(name: str, valid: list[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, valid, n=1)
    return f"Did you mean '{close[0]}'? " if close else ""


def _unfit(exc: "ValidationError") -> BadInput:
    first = exc.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    return BadInput(
        f"The value {first['input']!r} does not fit '{name}': {in_few_words(first['msg'])}.",
        hint=f"Give another value, such as the preset's own, with --set {name}=VALUE.",
    )
