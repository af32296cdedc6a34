"""The labelled corpora beside the checkout: known counts, known duplicates, splits and clusters."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from postq.contracts.document import SplitName
from postq.contracts.recipes import SplitRecipe
from postq.corpus.location import Input
from postq.corpus.near_duplicates import cluster_documents
from postq.corpus.snapshot import read_documents, read_keys
from postq.corpus.splits import assign_splits, describe_splits

pytestmark = pytest.mark.real_data
SPLIT_FILES: dict[SplitName, str] = {"train": "train", "validation": "val", "test": "test"}


@pytest.fixture
def taken_in(real_corpora: Path, snapshot: Any) -> Callable[[str], Any]:
    """Write the snapshot of one of the corpora with its split files."""

    def take_in(name: str, *, leaving_out: str = "") -> Any:
        wanted = {split: file for split, file in SPLIT_FILES.items() if split != leaving_out}
        files = {split: real_corpora / name / f"{file}.jsonl.gz" for split, file in wanted.items()}
        return snapshot(*(Input(path=str(path), split=split) for split, path in files.items()))

    return take_in


def test_reuters_is_read_whole_with_its_official_split(taken_in: Any, tmp_path: Path) -> None:
    facts = taken_in("reuters21578")
    folder = tmp_path / "snapshot"
    assert (facts.records_read, facts.forms) == (6_604 + 1_166 + 3_019, ("source",))
    assert facts.reasons == {"too_short": 15}
    assert facts.splits == {"train": 6_599, "validation": 1_165, "test": 3_010}
    assert len(facts.label_counts) == 90
    assert (
        facts.exact_duplicates == 112
    )  # its README counts 110, with the title in another letter case or not
    keys = read_keys(folder)
    clusters = cluster_documents(read_documents(folder))
    recipe = SplitRecipe()
    splits = assign_splits(keys, recipe=recipe, clusters=clusters)
    report = describe_splits(keys, splits, recipe=recipe, clusters=clusters)
    assert splits == list(keys.splits)
    assert 40 < len(report.crossing) < 80


def test_long_judgments_are_read_whole_and_split_by_cluster(taken_in: Any, tmp_path: Path) -> None:
    # The training part is left out to keep the suite quick; the longest judgments are not in it alone.
    facts = taken_in("fca_catchphrases", leaving_out="train")
    folder = tmp_path / "snapshot"
    assert (facts.documents, facts.set_aside, len(facts.label_counts)) == (548 + 549, 0, 63)
    assert facts.words.longest > 100_000
    keys = read_keys(folder)
    clusters = cluster_documents(read_documents(folder, view="paragraphs"))
    assert 1_080 < len(set(clusters.tolist())) <= 1_097
    recipe = SplitRecipe(official=False)
    splits = assign_splits(keys, recipe=recipe, clusters=clusters)
    report = describe_splits(keys, splits, recipe=recipe, clusters=clusters)
    assert report.crossing == ()
    assert max(len(labels) for labels in report.absent_labels.values()) <= 6
