"""Writing a page: whole or not at all."""

import os
import tempfile
from pathlib import Path

from postq.errors import StorageUnavailable


def write_page(html: str, target: Path) -> None:
    """Replace `target` with the page in one step. Raises StorageUnavailable; nothing half-written stays."""
    try:
        descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
                stream.write(html)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.chmod(0o644)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as exc:
        raise StorageUnavailable(
            f"{target} cannot be written: {exc.strerror or exc}.",
            hint="Name a file in a folder that exists, has room and may be written.",
        ) from exc
