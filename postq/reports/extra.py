"""The optional part of postq that draws: asked for once, with a hint when it is not there."""

from importlib.util import find_spec

from postq.errors import ExtraMissing

NEEDED = ("matplotlib", "jinja2")


def require_drawing() -> None:
    """Raise ExtraMissing when the libraries of the extra `reports` are not installed."""
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ExtraMissing(
            f"Writing a page needs a library that is not installed: {missing[0]}.",
            hint="Install it with `pip install 'postq[reports]'`, or leave out --output for a table.",
        )
