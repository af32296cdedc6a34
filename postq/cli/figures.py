"""The figures of a bundle, a training or an evaluation as a table; nothing when there are none."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table


def figures_table(result: Mapping[str, Any]) -> Table | None:
    """Placeholder until the shape of results is settled."""
    del result
    return None
