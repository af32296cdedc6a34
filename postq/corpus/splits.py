"""Which documents train, which tune and which test: official splits, or by cluster and seed.

Why a document's place hangs on its own content: a split made by shuffling positions with a seed is only as
stable as the list it shuffles. One published comparison dropped three documents between two runs; the same
seed then dealt all 16,724 others anew, and about 70 % of what was called the test set had been trained on in
the run before. Here every draw is a hash of (seed, content of the document's cluster): order of input does
not matter, with `random` no other document does, and with `stratified` only documents at the edge of a
label's quota can move (0 to 4 % of them where we measured). The split manifest in each bundle, against which
every evaluation is checked, is what makes even those safe.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from postq.contracts.document import SplitName
from postq.contracts.recipes import SplitRecipe, over_one
from postq.corpus.snapshot import SnapshotKeys
from postq.corpus.stratification import SplitUnit, stratify
from postq.counted import counted
from postq.errors import BadInput, NotTrainable

SPLITS: tuple[SplitName, SplitName, SplitName] = ("train", "validation", "test")

Shares = dict[SplitName, float]


def assign_splits(keys: SnapshotKeys, *, recipe: SplitRecipe, clusters: NDArray[np.int64]) -> list[SplitName]:
    """The split of each document, in row order; `clusters` are (docs,) near-duplicate cluster numbers.

    Documents of one cluster share a split unless an official split parts them (`describe_splits` reports
    those). With an official split, documents without one train, and a split the source does not have is
    carved out of train by the recipe's method and shares. Raises BadInput for shares above 1, NotTrainable
    when there are too few documents for every split, or the official one leaves none to train on.
    """
    shares = _shares(recipe)
    _require_training_documents(keys, recipe=recipe)
    if not uses_official(keys, recipe=recipe):
        return _divide(keys, range(len(keys)), shares=shares, recipe=recipe, clusters=clusters)
    assigned: list[SplitName] = [split or "train" for split in keys.splits]
    absent: list[SplitName] = [name for name in SPLITS if shares[name] and name not in assigned]
    if not absent:
        return assigned
    rows = [row for row, split in enumerate(assigned) if split == "train"]
    carved = _divide(
        keys, rows, shares=_rescaled(shares, ["train", *absent]), recipe=recipe, clusters=clusters
    )
    for row, split in zip(rows, carved, strict=True):
        assigned[row] = split
    return assigned


def uses_official(keys: SnapshotKeys, *, recipe: SplitRecipe) -> bool:
    """True when the recipe wants official splits and a document of the corpus carries one.

    One document held back for tests is enough: whoever named it counts on its not being trained on.
    """
    return recipe.official and any(split is not None for split in keys.splits)


def _require_training_documents(keys: SnapshotKeys, *, recipe: SplitRecipe) -> None:
    """To deal documents out that the source holds back for tests would train on its test set."""
    if recipe.official and len(keys) and not {None, "train"} & set(keys.splits):
        raise NotTrainable(
            "The corpus' official split has no documents to train on: "
            f"its {counted(len(keys), 'document is', 'documents are')} for validation or test.",
            hint="Add the training documents, or divide these anew with --set split.official=false.",
        )


def cluster_keys(keys: SnapshotKeys, *, clusters: NDArray[np.int64]) -> dict[int, bytes]:
    """A name for each cluster that outlives changes of the corpus: the smallest of its content hashes."""
    names: dict[int, bytes] = {}
    for cluster, content in zip(clusters.tolist(), keys.content_hashes, strict=True):
        names[cluster] = min(content, names.get(cluster, content))
    return names


def _shares(recipe: SplitRecipe) -> Shares:
    exceeding = over_one(recipe)
    if exceeding:
        raise BadInput(exceeding, hint="Lower one of them; what is left over is the test split.")
    test = 1.0 - recipe.train - recipe.validation
    return {"train": recipe.train, "validation": recipe.validation, "test": test if test > 1e-9 else 0.0}


def _rescaled(shares: Shares, names: Sequence[SplitName]) -> Shares:
    """The shares of `names` alone, in proportion; the others get nothing."""
    total = sum(shares[name] for name in names)
    return {name: shares[name] / total if name in names else 0.0 for name in SPLITS}


def _divide(
    keys: SnapshotKeys,
    rows: Sequence[int],
    *,
    shares: Shares,
    recipe: SplitRecipe,
    clusters: NDArray[np.int64],
) -> list[SplitName]:
    """Splits of `rows`, whole clusters at a time."""
    units = _units(keys, rows, clusters=clusters, seed=recipe.seed)
    wanted = sum(share > 0 for share in shares.values())
    if len(units) < wanted:
        raise NotTrainable(
            f"{counted(len(units), 'distinct document')} cannot be divided into {wanted} splits.",
            hint="Add documents, or give the files' official splits with --split train=FILE.",
        )
    proportions = [shares[name] for name in SPLITS]
    draw = stratify if recipe.method == "stratified" else _draw_by_hash
    places = _without_gaps(draw(units, shares=proportions), units, shares=proportions)
    by_cluster = {unit.cluster: SPLITS[place] for unit, place in zip(units, places, strict=True)}
    return [by_cluster[int(clusters[row])] for row in rows]


def _units(
    keys: SnapshotKeys, rows: Sequence[int], *, clusters: NDArray[np.int64], seed: int
) -> list[SplitUnit]:
    """One unit per cluster among `rows`, in the order of their draws, which input order cannot change."""
    names = cluster_keys(keys, clusters=clusters)
    members: dict[int, list[int]] = {}
    for row in rows:
        members.setdefault(int(clusters[row]), []).append(row)
    units = [
        SplitUnit.of(cluster, draw=_draw(seed, names[cluster]), labels=[keys.labels[row] for row in inside])
        for cluster, inside in members.items()
    ]
    return sorted(units, key=lambda unit: unit.draw)


def _draw(seed: int, key: bytes) -> float:
    """A number in [0, 1) that only the seed and the cluster decide."""
    digest = hashlib.blake2b(key, key=seed.to_bytes(8, "little", signed=True), digest_size=8).digest()
    return int.from_bytes(digest, "little") / 2**64


def _draw_by_hash(units: Sequence[SplitUnit], *, shares: Sequence[float]) -> list[int]:
    """The `random` method: a unit's own draw decides, so that no other document can move it."""
    edges = np.cumsum(shares)[:-1]
    return [int(np.searchsorted(edges, unit.draw, side="right")) for unit in units]


def _without_gaps(places: list[int], units: Sequence[SplitUnit], *, shares: Sequence[float]) -> list[int]:
    """Give a split that came out empty one unit of the fullest split (only tiny corpora need it)."""
    for split, share in enumerate(shares):
        if share > 0 and split not in places:
            fullest = max(set(places), key=lambda name: (places.count(name), -name))
            places[max(index for index, place in enumerate(places) if place == fullest)] = split
    return places


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitReport:
    """What an assignment looks like, for the job's events and the report."""

    official: bool
    """The corpus' own split was used."""
    sizes: dict[SplitName, int]
    """Documents per split."""
    label_counts: dict[SplitName, dict[str, int]]
    """Documents per label in each split."""
    absent_labels: dict[SplitName, tuple[str, ...]]
    """Labels no document of a split carries."""
    crossing: tuple[tuple[int, ...], ...]
    """Rows of each near-duplicate cluster that lies in more than one split; only official splits do that."""


def describe_splits(
    keys: SnapshotKeys,
    splits: Sequence[SplitName],
    *,
    recipe: SplitRecipe,
    clusters: NDArray[np.int64],
    labels: Sequence[str] | None = None,
) -> SplitReport:
    """Count sizes and labels per split and find clusters that cross; `labels` None means all there are."""
    counts: dict[SplitName, dict[str, int]] = {name: {} for name in SPLITS}
    for split, carried in zip(splits, keys.labels, strict=True):
        for label in carried:
            counts[split][label] = counts[split].get(label, 0) + 1
    asked = sorted({label for carried in keys.labels for label in carried}) if labels is None else labels
    return SplitReport(
        official=uses_official(keys, recipe=recipe),
        sizes={name: splits.count(name) for name in SPLITS},
        label_counts=counts,
        absent_labels={name: tuple(lab for lab in asked if lab not in counts[name]) for name in SPLITS},
        crossing=_crossing(splits, clusters),
    )


def _crossing(splits: Sequence[SplitName], clusters: NDArray[np.int64]) -> tuple[tuple[int, ...], ...]:
    members: dict[int, list[int]] = {}
    for row, cluster in enumerate(clusters.tolist()):
        members.setdefault(cluster, []).append(row)
    return tuple(tuple(rows) for rows in members.values() if len({splits[row] for row in rows}) > 1)
