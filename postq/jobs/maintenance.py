"""What a maintenance act reports back."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many rows changed, and the device kinds whose workers should be told that work is ready."""

    changed: int = 0
    device_kinds: tuple[str, ...] = ()
