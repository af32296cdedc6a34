"""The base of every record that crosses a layer: frozen, keyword-only, no unknown fields."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen value object; JSON in and out through pydantic."""

    model_config = ConfigDict(frozen=True, extra="forbid")
