"""A bundle on the screen."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from postq.cli.bundles.listing import ListedBundle
from postq.cli.bundles.page import bundle_page
from postq.models.bundle import BundleRow

Print = Callable[..., str]


def a_bundle(*, test_documents: int, touches: int = 0) -> ListedBundle:
    row = BundleRow(
        id=1,
        name="small",
        kind="tfidf",
        digest="0" * 64,
        path="bundles/0",
        fingerprint=b"\x01" * 16,
        threshold_digest="0" * 64,
        labels=["On Appeal"],
        metrics={"documents": {"train": 9, "validation": 3, "test": test_documents}},
        test_touches=touches,
        created_at=datetime(2026, 3, 4, tzinfo=UTC),
    )
    return ListedBundle(row=row, aliases=())


def test_the_look_of_the_training_counts(printed: Print, tmp_path: Path) -> None:
    text = printed(bundle_page(a_bundle(test_documents=3), home=tmp_path))
    assert "evaluated once: at the end of training" in text
    again = printed(bundle_page(a_bundle(test_documents=3, touches=1), home=tmp_path))
    assert "evaluated twice: at the end of training and once since" in again


def test_a_bundle_without_a_test_split_was_not_evaluated(printed: Print, tmp_path: Path) -> None:
    assert "evaluated" not in printed(bundle_page(a_bundle(test_documents=0), home=tmp_path))
