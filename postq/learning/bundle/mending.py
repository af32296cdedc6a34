"""Putting a whole bundle in the place of a damaged one of the same digest."""

import errno
import shutil
import uuid
from pathlib import Path

from postq.errors import BundleUnusable, DigestMismatch, StorageUnavailable
from postq.learning.bundle.bundle import Bundle
from postq.learning.bundle.opening import open_bundle
from postq.learning.bundle.writing import copy_bundle, flush

ASIDE = ".draft-"
"""Begins the names of folders beside bundles that are none yet, or none any more."""


def aside(bundles: Path) -> Path:
    """A new name in the folder of bundles for what is none yet, or none any more."""
    return bundles / f"{ASIDE}{uuid.uuid4().hex}"


def mend_all(bundles: Path, sound: Bundle) -> bool:
    """Mend the copies of `sound` in a folder of bundles, whose names begin with its digest; whether any was.

    Every copy, whichever database names it. Raises StorageUnavailable.
    """
    mended = [mend(place, sound) for place in sorted(bundles.glob(f"{sound.digest}*"))]
    return any(mended)


def mend(place: Path, sound: Bundle) -> bool:
    """Where a damaged copy of `sound` lies at `place`, put a whole one there; whether it did.

    By two renames: whoever opens the bundle meanwhile finds the damaged folder, none, or the whole one, and
    whoever has its files open keeps them. Raises StorageUnavailable.
    """
    if not place.exists() or _is_whole(place, digest=sound.digest):
        return False
    fresh, gone = aside(place.parent), aside(place.parent)
    copy_bundle(sound.path, fresh)
    try:
        place.rename(gone)
        fresh.rename(place)
        flush(place.parent)
    except OSError as exc:
        if exc.errno in (errno.ENOENT, errno.ENOTEMPTY, errno.EEXIST):  # somebody else mended or removed it
            return False
        raise StorageUnavailable(
            f"The damaged bundle at {place} could not be replaced: {exc.strerror or exc}.",
            hint="Remove its folder as a user who may, then try again.",
        ) from exc
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(gone, ignore_errors=True)
    return True


def _is_whole(place: Path, *, digest: str) -> bool:
    try:
        open_bundle(place, expected_digest=digest)
    except (BundleUnusable, DigestMismatch):
        return False
    return True
