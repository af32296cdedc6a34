"""The resident model serves shard after shard, never an outdated one, and begins with what comes next."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from postq.contracts.document import Document
from postq.contracts.runner import BundleOnDisk, RunRequest
from postq.errors import DigestMismatch
from postq.learning import scoring
from postq.learning.hooks import Hooks
from postq.tasks import classify
from postq.tasks.resident import Resident
from postq.tasks.results import check_coverage
from tests.unit.tasks.conftest import CPU, MakeRequest, TrainedBundle, classify_spec


@pytest.fixture
def copied(bundle: TrainedBundle, tmp_path: Path) -> BundleOnDisk:
    """A copy of the bundle that a test may damage."""
    shutil.copytree(bundle.on_disk.path, tmp_path / "bundle")
    return bundle.on_disk.model_copy(update={"path": tmp_path / "bundle"})


def load(resident: Resident, wanted: BundleOnDisk) -> object:
    return resident.scorer(wanted, CPU, max_tokens_per_batch=1000, batch_divisor=1)[1]


def test_the_loaded_model_is_kept_for_the_next_shard(copied: BundleOnDisk) -> None:
    resident = Resident()
    assert load(resident, copied) is load(resident, copied)


def test_a_file_changed_under_a_loaded_model_is_noticed(copied: BundleOnDisk) -> None:
    resident = Resident()
    load(resident, copied)
    thresholds = copied.path / "thresholds.json"
    thresholds.write_text(thresholds.read_text().replace("0.5", "0.1"))
    with pytest.raises(DigestMismatch):
        load(resident, copied)


def test_a_touched_but_equal_bundle_stays_loaded(copied: BundleOnDisk) -> None:
    resident = Resident()
    scorer = load(resident, copied)
    (copied.path / "README.md").touch()
    assert load(resident, copied) is scorer


def test_another_digest_is_never_served_from_memory(copied: BundleOnDisk) -> None:
    resident = Resident()
    load(resident, copied)
    with pytest.raises(DigestMismatch):
        load(resident, copied.model_copy(update={"digest": "0" * 64}))


def test_a_smaller_batch_after_a_full_device_loads_the_model_anew(copied: BundleOnDisk) -> None:
    resident = Resident()
    scorer = load(resident, copied)
    halved = resident.scorer(copied, CPU, max_tokens_per_batch=1000, batch_divisor=2)[1]
    assert halved is not scorer


def test_another_precision_loads_the_model_anew(copied: BundleOnDisk) -> None:
    resident = Resident()
    own = load(resident, copied)
    for precision, same in ((None, True), ("bf16", False)):
        asked = resident.scorer(copied, CPU, max_tokens_per_batch=1000, batch_divisor=1, precision=precision)[
            1
        ]
        assert (asked is own) == same


class ReadingScorer:
    """A scorer that also remembers what it began with."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.labels = inner.labels
        self.begun: list[list[int]] = []
        self.scored: list[int] = []
        self.left = 0

    def begin(self, documents: Iterable[Document]) -> None:
        self._ahead = documents
        self._first = next(iter(documents))
        self.begun.append([self._first.row])

    def leave_off(self) -> None:
        self.left += 1

    def score(self, documents: Iterator[Document], **options: Any) -> Iterator[Any]:
        read = [self._first] if self.begun and documents is self._ahead else []
        for batch in self._inner.score([*read, *documents], **options):
            self.scored += batch.rows.tolist()
            yield batch


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> list[ReadingScorer]:
    """Scorers loaded from now on read ahead; all of them, in order."""
    made: list[ReadingScorer] = []
    load_plainly = scoring.load_scorer

    def load_one(*args: Any, **options: Any) -> ReadingScorer:
        made.append(ReadingScorer(load_plainly(*args, **options)))
        return made[-1]

    monkeypatch.setattr(scoring, "load_scorer", load_one)
    return made


class Coming:
    """What the supervisor has said will follow."""

    def __init__(self) -> None:
        self.request: RunRequest | None = None

    def __call__(self) -> RunRequest | None:
        told, self.request = self.request, None
        return told


@pytest.fixture
def pair(make_request: MakeRequest, snapshot: Path, bundle: TrainedBundle) -> tuple[RunRequest, RunRequest]:
    """Requests for two neighbouring shards."""

    def request(shard: int, start: int, stop: int) -> RunRequest:
        facts = {"shard_id": shard, "start_row": start, "stop_row": stop}
        return make_request(classify_spec(), snapshot, bundle=bundle.on_disk, extra=bundle.extra, **facts)

    return request(1, 0, 20), request(2, 20, 60)


def score_the_first(first: RunRequest, *, following: RunRequest) -> Resident:
    """The resident after the first shard, during which it was told what follows."""
    coming = Coming()
    coming.request = following
    resident = Resident(upcoming=coming)
    classify.run(first, classify_spec(), hooks=Hooks(), resident=resident)
    return resident


def test_what_comes_next_is_begun_between_batches_and_gone_on_with(
    reading: list[ReadingScorer], pair: tuple[RunRequest, RunRequest]
) -> None:
    first, second = pair
    resident = score_the_first(first, following=second)
    (scorer,) = reading
    assert scorer.begun == [[20]]
    classify.run(second, classify_spec(), hooks=Hooks(), resident=resident)
    assert scorer.scored == list(range(60))
    check_coverage(second.output, wanted=range(20, 60))


def test_what_was_begun_is_not_taken_for_another_attempt(
    reading: list[ReadingScorer], pair: tuple[RunRequest, RunRequest]
) -> None:
    first, second = pair
    resident = score_the_first(first, following=second)
    again = second.model_copy(update={"token": 2})
    classify.run(again, classify_spec(), hooks=Hooks(), resident=resident)
    assert reading[0].scored == list(range(60))


def test_what_was_begun_is_left_when_the_model_is_let_go(
    reading: list[ReadingScorer], pair: tuple[RunRequest, RunRequest]
) -> None:
    first, second = pair
    resident = score_the_first(first, following=second)
    resident.forget()
    assert reading[0].left == 1
    classify.run(second, classify_spec(), hooks=Hooks(), resident=resident)
    assert reading[1].scored == list(range(20, 60))


def test_an_attempt_with_another_bundle_is_not_begun(
    reading: list[ReadingScorer], pair: tuple[RunRequest, RunRequest]
) -> None:
    first, second = pair
    assert second.bundle is not None
    other = second.bundle.model_copy(update={"digest": "0" * 64})
    score_the_first(first, following=second.model_copy(update={"bundle": other}))
    assert reading[0].begun == []
