"""After training, as a user: new thresholds, tiers, the review queue and ensembles, all without a worker."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.corpora import write_corpus
from tests.acceptance.user import User


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A user with two bundles of one split, one of other labels, and a classification by the first."""

    user: User
    job: int


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    user = User(home=tmp_path_factory.mktemp("after") / "home")
    file = write_corpus(user.home.parent / "corpus.jsonl", documents=90)
    user.runs("corpus", "add", "news", file)
    quick = ("--set", "regularisation=[4.0]", "--set", "folds=2")
    user.runs("submit-train", "news", "--preset", "tfidf", "--name", "first", *quick)
    user.runs(
        *("submit-train", "news", "--preset", "tfidf", "--name", "second", *quick),
        *("--set", "class_weight=null", "--set", "max_features=8"),
    )
    user.runs("submit-train", "news", "--preset", "tfidf", "--name", "moved", *quick, "--set", "split.seed=7")
    job = user.submits("classify-corpus", "news", "--bundle", "job:1", "--after", 1)
    user.runs("up", "--until-idle")
    return Trained(user=user, job=job)


def test_new_thresholds_relabel_a_job_and_a_nightly_run_has_nothing_to_do(trained: Trained) -> None:
    user = trained.user
    made = user.asks("rethreshold", "first", "--method", "half", "--job", trained.job)
    assert (made["name"], made["method"]) == ("first-half", "half")
    assert user.runs("verify", made["job"]).out.rstrip().endswith("Verified.")
    relabelled = user.asks("predictions", "show", "--job", made["job"], "--limit", 1000)
    before = user.asks("predictions", "show", "--job", trained.job, "--limit", 1000)
    assert [one["scores"] for one in relabelled] == [one["scores"] for one in before]
    for one in relabelled:
        over = {each["label"] for each in one["scores"] if each["score"] >= 0.5}
        assert {each["label"] for each in one["labels"]} == over
    nightly = user.runs("classify-corpus", "news", "--bundle", "first-half", "--only-new")
    assert "nothing new: every document" in nightly.err
    assert user.asks("rethreshold", "first", "--method", "half", "--job", trained.job)["job"] == made["job"]


def test_new_thresholds_are_refused_for_what_they_do_not_fit(trained: Trained) -> None:
    user = trained.user
    for words, code, says in (
        (("second", "--job", trained.job), 8, "cut scores of space 'sigmoid'"),
        (("moved", "--job", trained.job), 8, "tuned for another model"),
        (("first", "--job", 1), 3, "not a classification"),
        (("first", "--job", 999), 4, "There is no job 999"),
        (("nobody",), 4, "There is no bundle"),
        (("first", "--name", "../etc"), 3, "cannot be the name"),
    ):
        answer = user.tries("rethreshold", *words)
        assert (answer.code, len(answer.messages)) == (code, 2)
        assert says in answer.err
    left = [path.name for path in (user.home / "bundles").iterdir() if path.name.startswith(".")]
    assert left == []


def test_rules_between_labels_are_judged_anew_and_shown(trained: Trained) -> None:
    user = trained.user
    made = user.asks("rethreshold", "first", "--rules", "implications", "--name", "first-rules")
    assert made["rules"].startswith("implications: no rule is borne out by ")
    assert made["same_labels"], "no label of this corpus is on thirty documents, so that there is no rule"
    shown = user.runs("bundles", "show", "first-rules").out
    assert "implications: no rule is borne out" in " ".join(shown.split())
    assert "Rules between labels" in user.runs("report", "first-rules").out
    assert user.asks("bundles", "show", "first-rules")["metrics"]["rules"]["kept"] is False
    again = user.asks("rethreshold", "first-rules", "--method", "half", "--rules", "off", "--name", "none")
    assert again["rules"] is None
    answer = user.tries(
        "submit-train", "news", "--preset", "tfidf", "--name", "x", "--set", "rules=everything"
    )
    assert (answer.code, "does not fit 'rules'" in answer.err) == (3, True)


def test_facets_tell_which_labels_are_broader(trained: Trained, tmp_path: Path) -> None:
    user = trained.user
    first, second = "wheat", "crude"
    file = tmp_path / "facets.json"
    file.write_text(json.dumps({"labels": {first: {"f": "x", "is_a": second}, second: "x", "strange": "x"}}))
    words = ("rethreshold", "first", "--rules", "most_specific")
    made = user.asks(*words, "--facets", file, "--name", "first-specific")
    assert "none of 1 rule kept, since they gain too little" in made["rules"]
    report = " ".join(user.runs("report", "first-specific").out.split())
    assert (
        "Of the learned labels 2 have facets and 1 have none; not learned, but in the file: 'strange'"
        in report
    )
    again = user.asks("rethreshold", "first-specific", "--method", "global", "--name", "specific-global")
    assert "of 1 rule kept" in again["rules"], "the facets are kept in the bundle"
    for tried, code, says in (
        (words, 3, "broader than which"),
        ((*words, "--facets", tmp_path / "none.yaml"), 3, "cannot be read"),
        (("submit-train", "news", "--preset", "tfidf", "--set", "rules=both"), 3, "broader than which"),
        (("submit-train", "news", "--set", "facet_loss=0.3"), 3, "gives weight to facets"),
    ):
        answer = user.tries(*tried)
        assert (answer.code, len(answer.messages)) == (code, 2)
        assert says in answer.err


def test_tiers_and_the_review_queue_say_where_people_are_needed(trained: Trained, tmp_path: Path) -> None:
    user = trained.user
    tiers = user.asks("bundles", "tiers", "first")
    assert {each["tier"] for each in tiers} <= {"auto", "assisted", "review", "manual"}
    assert all(each["lower"] is None or each["lower"] <= each["precision"] for each in tiers)
    lenient = user.asks("bundles", "tiers", "first", "--levels", "0.01,0.02")
    assert {each["tier"] for each in lenient if each["predicted"]} == {"auto"}
    queue = user.asks("predictions", "review", "--job", trained.job, "--limit", 5)
    needs = [each["need"] for each in queue]
    assert needs == sorted(needs, reverse=True)
    assert all(each["reasons"] for each in queue)
    target = tmp_path / "queue.jsonl"
    user.runs("predictions", "review", "--job", trained.job, "--limit", 5, "--output", target)
    written = [json.loads(line) for line in target.read_text().splitlines()]
    assert [each["document"] for each in written] == [each["document"] for each in queue]
    gated = user.runs("predictions", "review", "--job", trained.job, "--risk", 0.3, "--limit", 1000, "--json")
    assert "At a risk of 0.3" in gated.err
    assert all("not_safe" in {why["kind"] for why in each["reasons"]} for each in json.loads(gated.out))
    for words, code in (
        (("--job", 1), 3),
        (("--job", 999), 4),
        (("--job", trained.job, "--risk", 0.0001), 3),
        (("--job", trained.job, "-o", "queue.doc"), 3),
    ):
        assert user.tries("predictions", "review", *words).code == code
    assert user.tries("bundles", "tiers", "first", "--levels", "high").code == 3


def test_doubtful_labels_are_ranked_and_written_to_files(trained: Trained, tmp_path: Path) -> None:
    user = trained.user
    shown = user.asks("bundles", "suspects", "second", "--limit", 1000)
    margins = [each["margin"] for each in shown]
    assert shown
    assert margins == sorted(margins)
    assert {each["problem"] for each in shown} <= {"missing", "wrong"}
    for name in ("suspects.jsonl", "suspects.csv"):
        user.runs("bundles", "suspects", "second", "--limit", 3, "--output", tmp_path / name)
    written = [json.loads(line) for line in (tmp_path / "suspects.jsonl").read_text().splitlines()]
    assert written == shown[:3]
    with (tmp_path / "suspects.csv").open(newline="") as file:
        assert [row["document"] for row in csv.DictReader(file)] == [each["document"] for each in written]
    assert user.tries("bundles", "suspects", "second", "-o", "suspects.doc").code == 3
    assert user.tries("bundles", "suspects", "nobody").code == 4


def test_an_ensemble_is_classified_with_and_evaluated_like_any_other_bundle(trained: Trained) -> None:
    user = trained.user
    looks = max(user.asks("bundles", "show", name)["test_touches"] for name in ("first", "second"))
    made = json.loads(user.runs("bundles", "ensemble", "first", "second", "--name", "both", "--json").out)
    stacked = ("bundles", "ensemble", "first", "second", "--name", "stacked", "--method", "stacking")
    jobs = {"both": made["bundle"], "stacked": user.asks(*stacked)["bundle"]}
    scoring = [user.submits("classify-corpus", "news", "--bundle", name) for name in jobs]
    judging = [user.submits("submit-eval", "news", "--bundle", name) for name in jobs]
    user.runs("up", "--until-idle")
    for (name, number), scored, judged in zip(jobs.items(), scoring, judging, strict=True):
        looks += 1  # at the members' test split, by this ensemble
        assert user.runs("verify", scored).out.rstrip().endswith("Verified.")
        shown = user.asks("bundles", "show", name)
        assert (shown["bundle"], shown["kind"], shown["test_touches"]) == (number, "ensemble", looks + 1)
        stored = next(
            row
            for row in shown["metrics"]["comparison"]
            if (row["model"], row["split"], row["thresholds"]) == (name, "test", "default")
        )
        assert f'"micro_f1": {stored["micro_f1"]}' in json.dumps(user.asks("report", judged))
    relabelled = user.asks("rethreshold", "stacked", "--method", "half", "--job", scoring[1])
    assert user.runs("verify", relabelled["job"]).out.rstrip().endswith("Verified.")
    assert user.asks("compare", "stacked", "both")["titles"] == ["stacked", "both"]
    shares = user.tries("bundles", "ensemble", "first", "second", "--name", "x", "--defer-share", 0.5)
    assert (shares.code, len(shares.messages)) == (3, 2)
    refused = user.tries("bundles", "ensemble", "first", "moved", "--name", "x")
    assert (refused.code, len(refused.messages)) == (8, 2)
    assert "divided the documents differently" in refused.err
