"""The base of every record that crosses a layer: frozen, keyword-only, no unknown fields."""

from pydantic import BaseModel, ConfigDict


def is_none(value: object) -> bool:
    """For `exclude_if`: a field that is None is left out of what is stored."""
    return value is None


class Record(BaseModel):
    """A frozen value object; JSON in and out through pydantic."""

    model_config = ConfigDict(frozen=True, extra="forbid")
