"""What a bundle may be called."""

import re

from postq.errors import BadInput

_NAME = re.compile(r"(?!\d+$)[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""No digits alone: `--bundle 7` means bundle number 7."""


def checked_name(name: str) -> str:
    """A name a bundle may have. Raises BadInput."""
    if not _NAME.fullmatch(name):
        raise BadInput(
            f"'{name}' cannot be the name of a bundle.",
            hint="Use up to 100 letters, digits, dots, dashes and underscores, a letter or digit first, not"
            " digits alone: --name NAME.",
        )
    return name
