"""The main job on the embedded default, through real commands and a real worker."""

import csv
import io
import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.acceptance.journey import DOCUMENTS, NEW, Journey

pytestmark = pytest.mark.slow


def test_adding_tells_what_was_set_aside_and_why(journey: Journey) -> None:
    listed = journey.user.asks("corpus", "show", "opinions@1", "--set-aside")
    assert journey.added.out == ""
    assert f"Added opinions@1: {DOCUMENTS} documents" in journey.added.err
    assert "5 records set aside" in journey.added.err
    assert {record["reason"] for record in listed} == {
        *("bad_record", "invalid_utf8", "missing_text", "repeated_id", "too_short")
    }


def test_a_submit_without_a_worker_says_how_to_start_one(journey: Journey) -> None:
    assert journey.submitted.out == "Submitted job 1.\n"
    assert "start one with `postq up`" in journey.submitted.err


def test_submitting_again_with_the_key_joins_the_first_job(journey: Journey) -> None:
    assert "Job 1 was submitted before with this key" in journey.trained.err
    assert "Job 1 · train · succeeded" in journey.trained.out


def test_waiting_in_a_pipe_tells_the_way_in_plain_lines(journey: Journey) -> None:
    assert "job 1: succeeded" in journey.trained.messages[-1]
    assert "\x1b" not in journey.trained.err + journey.trained.out


def test_a_training_shows_micro_and_macro_f1_at_every_threshold(journey: Journey) -> None:
    for heading in ("at 0.5", "global", "default", "cross-fitted", "mAP"):
        assert heading in journey.trained.out


def test_an_evaluation_reports_on_the_test_split_and_counts_the_look(journey: Journey) -> None:
    assert "Job 2 · evaluate · succeeded" in journey.evaluated.out
    job = journey.user.asks("status", 2)
    assert job["result"]["split"] == "test"
    assert job["result"]["test_touches"] == 1
    assert 0 < job["result"]["documents"] < DOCUMENTS / 4


def test_every_document_is_predicted_once(journey: Journey) -> None:
    job = journey.user.asks("status", 3)
    assert job["documents"] == {"total": DOCUMENTS, "predicted": DOCUMENTS, "quarantined": 0, "skipped": 0}
    exported = journey.user.runs("predictions", "export", "-", "--format", "jsonl", "--job", 3)
    rows = [json.loads(line) for line in exported.out.splitlines()]
    assert sorted(row["row"] for row in rows) == list(range(DOCUMENTS))


def test_a_schedule_with_nothing_new_ends_at_once_and_says_so(journey: Journey) -> None:
    assert "nothing new" in journey.nothing_new.out
    assert journey.user.asks("status", 4)["shards"] == {}


def test_a_schedule_scores_only_what_is_new(journey: Journey) -> None:
    job = journey.user.asks("status", 5)
    assert job["documents"]["predicted"] == NEW
    assert job["documents"]["skipped"] == DOCUMENTS
    assert "succeeded" in journey.only_new.out


def test_the_list_of_schedules_says_when_it_last_fired_and_how_that_job_is(journey: Journey) -> None:
    listed = journey.user.runs("schedule", "list")
    assert re.search(r"\d\d-\d\d \d\d:\d\d CES?T manual: succeeded +5$", listed.out, re.MULTILINE)
    assert "only workers fire schedules" in listed.err
    (nightly,) = journey.user.asks("schedule", "list")
    assert (nightly["last_job"], nightly["last_state"]) == (5, "succeeded")


def test_jobs_say_which_schedule_submitted_them(journey: Journey) -> None:
    assert [job["schedule"] for job in journey.user.asks("status")] == ["nightly"] * 2 + [None] * 3
    assert journey.user.runs("status").out.count("· schedule nightly") == 2
    assert re.search(r"schedule +nightly", journey.user.runs("status", 5).out)
    assert "schedule" not in journey.user.runs("status", 3).out


def test_the_alias_is_shown_wherever_the_bundle_is(journey: Journey) -> None:
    (bundle,) = journey.user.asks("bundles", "list")
    assert bundle["aliases"] == ["production"]
    assert "@production" in journey.user.runs("bundles", "show", "opinions-tfidf").out


def test_the_bundle_is_a_folder_that_needs_no_pickle(journey: Journey) -> None:
    (bundle,) = journey.user.asks("bundles", "list")
    files = {path.name for path in (journey.user.home / bundle["path"]).rglob("*")}
    assert {"manifest.json", "labels.json", "thresholds.json", "split.parquet", "metrics.json"} <= files
    assert any(name.endswith(".safetensors") for name in files)
    assert not any(name.endswith((".pkl", ".pickle", ".joblib", ".bin", ".pt")) for name in files)


def test_predictions_are_found_by_label_and_by_document(journey: Journey) -> None:
    found = journey.user.asks("predictions", "show", "--job", 3, "--label", "On Appeal", "--limit", 5)
    assert len(found) == 5
    assert all("On Appeal" in [label["label"] for label in row["labels"]] for row in found)
    (one,) = journey.user.asks("predictions", "show", "--job", 3, "--document", found[0]["document"])
    assert one == found[0]


def test_the_three_formats_hold_the_same_predictions(journey: Journey, tmp_path: Path) -> None:
    for form in ("jsonl", "csv", "parquet"):
        journey.user.runs("predictions", "export", tmp_path / f"all.{form}", "--job", 3)
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    table = pq.read_table(tmp_path / "all.parquet").to_pylist()
    cells = list(csv.DictReader(io.StringIO((tmp_path / "all.csv").read_text())))
    assert [row["document"] for row in lines] == [row["document"] for row in table]
    assert [row["document"] for row in lines] == [row["document"] for row in cells]
    assert [len(row["labels"]) for row in lines] == [len(row["labels"]) for row in table]


def test_the_history_of_a_job_is_a_path_from_ready_to_succeeded(journey: Journey) -> None:
    events = journey.user.asks("events", 3)
    states = [event["to_state"] for event in events if event["type"] == "job.state"]
    assert states == ["ready", "running", "succeeded"]


def test_the_list_of_jobs_is_newest_first_and_can_be_narrowed(journey: Journey) -> None:
    jobs = journey.user.asks("status")
    assert [job["job"] for job in jobs] == sorted((job["job"] for job in jobs), reverse=True)
    assert {job["state"] for job in jobs} == {"succeeded"}
    assert [job["job"] for job in journey.user.asks("status", "--kind", "evaluate")] == [2]
    assert journey.user.asks("status", "--state", "failed") == []


def test_questions_are_answered_from_a_process_as_they_are_inside_this_one(journey: Journey) -> None:
    for words in (
        *(("status",), ("events", 3), ("verify", 3), ("corpus", "show", "opinions@1"), ("schedule", "list")),
        *(("bundles", "list"), ("bundles", "tiers", "opinions-tfidf"), ("predictions", "show", "--job", 3)),
    ):
        answer = journey.user.runs(*words, "--json")
        assert json.loads(answer.out) == journey.user.asks(*words), words


def test_no_worker_process_is_left_and_none_is_said_to_live(journey: Journey) -> None:
    assert journey.user.runs("worker", "--ping", code=4).out == ""
    checks = {check["check"]: check for check in journey.user.asks("doctor")["checks"]}
    assert checks["workers"]["level"] == "note"
