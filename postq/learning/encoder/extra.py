"""Whether the optional encoder libraries are installed, asked without importing them."""

from importlib.util import find_spec

from postq.errors import ExtraMissing

LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors")


def ensure_installed() -> None:
    """Raise ExtraMissing when a library of the `encoders` extra is absent."""
    absent = [name for name in LIBRARIES if find_spec(name) is None]
    if absent:
        raise ExtraMissing(
            f"Encoders need {', '.join(absent)}, which is not installed here.",
            hint="Install them with: pip install 'postq[encoders]'",
        )
