"""The optional part of postq that draws: asked for once, with a hint when it is not there."""

from postq.errors import ExtraMissing


def require_drawing() -> None:
    """Raise ExtraMissing when the libraries of the extra `reports` are not installed."""
    try:
        import jinja2
        import matplotlib
    except ImportError as exc:
        raise ExtraMissing(
            f"Writing a page needs a library that is not installed: {exc.name or exc}.",
            hint="Install it with `pip install 'postq[reports]'`, or leave out --output for a table.",
        ) from exc
    del jinja2, matplotlib
