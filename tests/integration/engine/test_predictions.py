"""Predictions: written in bulk, found by job, label and document, exported whole, digested alike."""

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from postq.contracts.scoring import ScoreBatch
from postq.errors import DatabaseUnavailable, IntegrityError, StorageUnavailable
from postq.learning.thresholds.decision import Decision
from postq.predictions import query
from postq.predictions.digest import result_digest
from postq.predictions.export import ExportFormat, export_predictions
from postq.predictions.query import PredictionFilter, PredictionView, count_predictions, predictions
from postq.predictions.write import write_predictions
from tests.integration.engine.world import LABELS, THRESHOLDS, World, hash_of, score_of


@pytest.fixture
def scored(world: World) -> World:
    """Job 1 has scored ten documents, one of which is quarantined."""
    world.add_corpus(10)
    world.add_bundle()
    world.classify(1)
    world.commit(world.must_claim(), failing={1: "ValueError: unreadable"})
    world.work_off()
    return world


def found(world: World, **wanted: object) -> list[PredictionView]:
    with world.database.reading() as session:
        return list(predictions(session, PredictionFilter(**wanted)))  # type: ignore[arg-type]


def test_every_label_is_stored_with_its_score_and_those_over_threshold_can_be_asked_for(
    scored: World,
) -> None:
    everything = found(scored, job_id=1)
    assert [one.row for one in everything] == [0, *range(2, 10)]
    fingerprint = hash_of("fingerprint w1")
    for one in everything:
        expected = score_of(hash_of(f"text {one.row}"), fingerprint)
        assert [label for label, _ in one.scores] == list(LABELS)
        assert [score for _, score in one.scores] == pytest.approx(expected)
        over = {label for (label, score), least in zip(one.scores, THRESHOLDS, strict=True) if score >= least}
        assert {label for label, _ in one.labels} == over
        assert (one.document_id, one.corpus, one.bundle) == (f"doc-{one.row}", "opinions v1", "postures")


def test_predictions_are_found_by_label_document_and_corpus(scored: World) -> None:
    everything = found(scored)
    for label in LABELS:
        wanted = [one for one in everything if label in dict(one.labels)]
        assert found(scored, label=label) == wanted
        with scored.database.reading() as session:
            assert count_predictions(session, PredictionFilter(label=label)) == len(wanted)
    assert [one.row for one in found(scored, document_id="doc-4")] == [4]
    assert found(scored, corpus_id=1) == everything
    assert found(scored, corpus_id=2) == found(scored, job_id=9) == []


def test_reading_in_chunks_gives_what_reading_at_once_gives(
    scored: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored.classify(1)
    scored.work_off()
    at_once = found(scored)
    monkeypatch.setattr(query, "CHUNK", 3)
    assert found(scored) == at_once
    assert len(at_once) == 19


def test_quarantined_documents_are_listed_with_their_errors(scored: World) -> None:
    with scored.database.reading() as session:
        (apart,) = query.quarantined(session, 1)
    assert (apart.document_id, apart.error) == ("doc-1", "ValueError: unreadable")


@pytest.mark.parametrize("all_scores", [False, True])
@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_an_export_holds_every_prediction_in_each_form(
    scored: World, tmp_path: Path, *, form: ExportFormat, all_scores: bool
) -> None:
    target = tmp_path / f"out.{form}"
    with scored.database.reading() as session:
        found_now = predictions(session, PredictionFilter(job_id=1))
        assert export_predictions(found_now, target, form=form, all_scores=all_scores) == 9
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [target.name]
    first = found(scored, job_id=1)[0]
    row = _first_row(target, form)
    assert (row["document"], int(row["job"])) == ("doc-0", 1)
    assert ("scores" in row) == all_scores
    if form == "csv":
        assert row["labels"] == "; ".join(f"{label}={score:.6g}" for label, score in first.labels)
    else:
        assert [pair["label"] for pair in row["labels"]] == [label for label, _ in first.labels]


def _first_row(target: Path, form: ExportFormat) -> dict[str, object]:
    if form == "jsonl":
        return dict(json.loads(target.read_text(encoding="utf-8").splitlines()[0]))
    if form == "csv":
        with target.open(encoding="utf-8", newline="") as stream:
            return dict(next(csv.DictReader(stream)))
    return dict(pq.read_table(target).to_pylist()[0])


def test_an_export_of_nothing_is_a_readable_empty_file(scored: World, tmp_path: Path) -> None:
    target = tmp_path / "none.parquet"
    assert export_predictions([], target, form="parquet") == 0
    assert pq.read_table(target).num_rows == 0


def test_an_export_that_breaks_leaves_the_old_file_as_it_was(scored: World, tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("old")
    everything = found(scored)

    def breaks() -> object:
        yield everything[0]
        raise DatabaseUnavailable("gone", hint="wait")

    with pytest.raises(DatabaseUnavailable):
        export_predictions(breaks(), target, form="jsonl")  # type: ignore[arg-type]
    assert target.read_text() == "old"
    with pytest.raises(StorageUnavailable, match="cannot be written"):
        export_predictions(everything, tmp_path / "missing" / "out.jsonl", form="jsonl")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["out.jsonl"]


def test_the_digest_does_not_depend_on_how_the_work_was_cut(scored: World) -> None:
    world = scored
    by_size = {}
    for size in (1, 3, 10):
        world.settings = world.settings.model_copy(update={"shard_documents": size})
        job_id = world.classify(1)
        world.work_off()
        by_size[size] = world.verify(job_id).digest
    assert len(set(by_size.values())) == 1
    with world.database.reading() as session:
        assert result_digest(session, 1) != by_size[1]  # one document of job 1 is quarantined


def test_another_score_gives_another_digest(scored: World) -> None:
    scored.add_bundle(weights="w2")
    job_id = scored.classify(1)
    first = scored.classify(1, "1")
    scored.work_off()
    assert scored.verify(job_id).digest != scored.verify(first).digest


@pytest.mark.parametrize(
    ("scores", "rows", "told"),
    [
        ([[0.1, 0.2]], [0], "do not fit"),
        ([[0.1, 0.2, float("nan")]], [0], "not a number between 0 and 1"),
        ([[0.1, 0.2, 1.5]], [0], "not a number between 0 and 1"),
        ([[0.1, 0.2, 0.3]], [77], "not a document of the corpus"),
    ],
)
def test_scores_that_cannot_be_right_are_refused(
    scored: World, scores: list[list[float]], rows: list[int], told: str
) -> None:
    batch = ScoreBatch(
        rows=np.array(rows),
        scores=np.array(scores, dtype=np.float32),
        tokens_total=np.array([1], dtype=np.int32),
        tokens_seen=np.array([1], dtype=np.int32),
    )
    with scored.session() as session, pytest.raises(IntegrityError, match=told):
        write_predictions(
            session,
            job_id=1,
            attempt_id=1,
            bundle_id=1,
            fingerprint=b"f" * 16,
            labels=LABELS,
            decision=Decision.at(THRESHOLDS),
            batches=[batch],
            document_hashes={0: b"h" * 16},
        )
