"""Comparing a bundle's folder on disk with the row that names it, file by file."""

from pathlib import Path

from postq.errors import BundleUnusable, DigestMismatch
from postq.learning.bundle import fingerprint, open_bundle
from postq.learning.thresholds.threshold_set import threshold_digest
from postq.models.bundle import BundleRow


def folder_problems(row: BundleRow, *, home: Path) -> tuple[str, ...]:
    """What is wrong with the folder of `row` under `home`, a sentence each; none when it is as registered.

    Every file is hashed and compared with the manifest, the manifest with the row, and what the row says of
    labels, thresholds and fingerprint with what the files say. Loads no weights.
    """
    try:
        opened = open_bundle(home / row.path, expected_digest=row.digest)
    except (BundleUnusable, DigestMismatch) as exc:
        return (f"bundle {row.id}: {exc.message}",)
    said = {
        "labels": (list(opened.labels), row.labels),
        "thresholds": (threshold_digest(opened.thresholds), row.threshold_digest),
        "fingerprint": (fingerprint(opened), row.fingerprint),
    }
    return tuple(
        f"bundle {row.id}: its row names other {name} than its files"
        for name, (of_files, of_row) in said.items()
        if of_files != of_row
    )
