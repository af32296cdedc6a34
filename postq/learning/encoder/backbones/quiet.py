"""transformers, asked to keep its advice and progress bars to itself."""

from transformers.utils import logging


def quiet_transformers() -> None:
    """Silence notices on fresh heads and padding: expected here, and told in our own words where needed."""
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
