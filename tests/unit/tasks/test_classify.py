"""Classification scores what was asked for, once each, with the very bundle the job is pinned to."""

from pathlib import Path

import numpy as np
import pytest

from postq.errors import BundleUnusable, DigestMismatch
from postq.learning.hooks import Hooks, StopRequested
from postq.tasks import classify
from postq.tasks.resident import Resident
from postq.tasks.results import check_coverage, read_quarantine, read_scores
from tests.unit.tasks.conftest import (
    Heard,
    MakeRequest,
    MakeSnapshot,
    TrainedBundle,
    classify_spec,
    record,
)


def test_every_document_of_the_range_is_scored_once(
    make_request: MakeRequest, snapshot: Path, bundle: TrainedBundle
) -> None:
    request = make_request(
        classify_spec(), snapshot, start_row=10, stop_row=30, bundle=bundle.on_disk, extra=bundle.extra
    )
    heard = Heard()
    result = classify.run(request, classify_spec(), hooks=heard.hooks(), resident=Resident())
    check_coverage(request.output, wanted=range(10, 30))
    assert len(result["decision"]["thresholds"]) == 3
    assert heard.phases[-1] == ("scoring", 20, 20)


def test_only_the_wanted_rows_are_scored_when_they_are_named(
    make_request: MakeRequest, snapshot: Path, bundle: TrainedBundle
) -> None:
    request = make_request(
        classify_spec(), snapshot, rows=(3, 59, 7), bundle=bundle.on_disk, extra=bundle.extra
    )
    classify.run(request, classify_spec(), hooks=Hooks(), resident=Resident())
    check_coverage(request.output, wanted=(3, 7, 59))


def test_a_document_that_cannot_be_scored_is_set_apart(
    make_request: MakeRequest, make_snapshot: MakeSnapshot, bundle: TrainedBundle
) -> None:
    strange = record(1, text=" ".join(f"zzz{number}" for number in range(20)))
    corpus = make_snapshot([record(0), strange, record(2)])
    request = make_request(classify_spec(), corpus, stop_row=3, bundle=bundle.on_disk, extra=bundle.extra)
    classify.run(request, classify_spec(), hooks=Hooks(), resident=Resident())
    check_coverage(request.output, wanted=range(3))
    (failure,) = read_quarantine(request.output)
    assert failure.row == 1


def test_scores_do_not_depend_on_how_the_work_is_cut(
    make_request: MakeRequest, snapshot: Path, bundle: TrainedBundle
) -> None:
    resident = Resident()
    found = []
    for cuts in ([(0, 60)], [(0, 7), (7, 41), (41, 60)]):
        parts = []
        for start, stop in cuts:
            request = make_request(
                classify_spec(),
                snapshot,
                start_row=start,
                stop_row=stop,
                bundle=bundle.on_disk,
                extra=bundle.extra,
            )
            classify.run(request, classify_spec(), hooks=Hooks(), resident=resident)
            parts += [batch.scores.copy() for batch in read_scores(request.output)]
        found.append(np.concatenate(parts))
    assert found[0].tobytes() == found[1].tobytes()


def test_a_stop_is_granted_between_batches(
    make_request: MakeRequest, snapshot: Path, bundle: TrainedBundle
) -> None:
    request = make_request(classify_spec(), snapshot, bundle=bundle.on_disk, extra=bundle.extra)
    with pytest.raises(StopRequested):
        classify.run(request, classify_spec(), hooks=Heard().hooks(stop_in="loading"), resident=Resident())


def test_a_bundle_that_would_predict_otherwise_than_promised_is_refused(
    make_request: MakeRequest, snapshot: Path, bundle: TrainedBundle
) -> None:
    extra = {**bundle.extra, "fingerprint": "0" * 32}
    request = make_request(classify_spec(), snapshot, bundle=bundle.on_disk, extra=extra)
    with pytest.raises(DigestMismatch, match="pinned"):
        classify.run(request, classify_spec(), hooks=Hooks(), resident=Resident())


def test_a_job_without_a_bundle_is_told_so(make_request: MakeRequest, snapshot: Path) -> None:
    request = make_request(classify_spec(), snapshot)
    with pytest.raises(BundleUnusable):
        classify.run(request, classify_spec(), hooks=Hooks(), resident=Resident())
