"""The drift watch: every scheduled job is compared once, with the right reference, and told of drift."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.contracts.recipes import TfidfRecipe
from postq.contracts.scoring import ScoreBatch
from postq.errors import BadInput, Conflict, LabelSetMismatch, NotFound
from postq.jobs import drift_watch
from postq.jobs.commit import StoredCounts, commit
from postq.jobs.drift import Measured, measure_drift
from postq.jobs.leases import Lease, pending_rows
from postq.jobs.prune import forget_job
from postq.jobs.queries import events_of
from postq.jobs.schedules import add_schedule, run_now
from postq.learning.bundle import Bundle, fingerprint, write_bundle
from postq.learning.bundle.score_file import ScoredPart
from postq.learning.data import SplitEntry
from postq.learning.hooks import StopRequested
from postq.learning.logits import sigmoid
from postq.learning.thresholds.decision import Decision
from postq.learning.thresholds.threshold_set import LabelThreshold, ThresholdSet
from postq.models.job import JobState
from postq.models.tables import prediction, prediction_label
from postq.predictions.drift import find_flips
from postq.predictions.write import content_hashes, write_predictions
from postq.registry.bundles import register_bundle
from postq.worker.drift_watch import DriftWatch
from tests.acceptance.user import Answer, User
from tests.integration.engine.world import LABELS, World, hash_of

CUTS = np.array([0.3, 0.5, 0.7])
CENTRES = np.array([-2.0, -1.0, 0.0])
THRESHOLDS = ThresholdSet(
    method="half",
    score_space="sigmoid",
    tuned_on="nothing",
    documents=0,
    global_threshold=0.5,
    labels=tuple(
        LabelThreshold(label=label, threshold=cut, source="half", positives=1)
        for label, cut in zip(LABELS, CUTS.tolist(), strict=True)
    ),
)


def scores_of(rows: list[int], *, moved: float = 0.0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """The same for the same row, around the same centre for every label."""
    drawn = [np.random.default_rng(row).normal(0, 1, len(LABELS)) for row in rows]
    return sigmoid(np.array(drawn).reshape(len(rows), -1) + CENTRES + moved).astype(np.float32)


def make_bundle(world: World, name: str = "postures", *, learned: int = 20, **changes: Any) -> Bundle:
    """A bundle on disk and in the database, which learned from the first texts and keeps 300 test scores."""
    scores = scores_of(list(range(5000, 5300)))
    values: dict[str, Any] = {
        "kind": "tfidf",
        "name": name,
        "labels": LABELS,
        "thresholds": THRESHOLDS,
        "split": [
            SplitEntry(document_id=f"{at}", content_hash=hash_of(f"text {at}"), cluster=at, split="train")
            for at in range(learned)
        ],
        "metrics": {"format": 1},
        "recipe": TfidfRecipe(),
        "corpus": "opinions@1",
        "write_model_files": lambda folder: (folder / "w.safetensors").write_bytes(name.encode()) and None,
        "scores": [
            ScoredPart(
                part="test",
                model="main",
                document_ids=[f"t{at}" for at in range(300)],
                word_counts=np.full(300, 100),
                truth=np.zeros(scores.shape, np.bool_),
                scores=scores,
            )
        ],
    }
    bundle = write_bundle(world.settings.home / "bundles" / name, **(values | changes))
    with world.session() as session:
        register_bundle(
            session,
            name=name,
            kind="tfidf",
            digest=bundle.digest,
            path=f"bundles/{name}",
            fingerprint=fingerprint(bundle),
            threshold_digest="t",
            labels=bundle.labels,
            metrics={},
            size_bytes=1,
            job_id=None,
            now=world.now,
        )
    return bundle


@dataclass
class Nights:
    """A schedule whose corpus grows each night, and the worker that scores what is new."""

    world: World
    documents: int = 0

    def add(self, documents: int, *, moved: float = 0.0) -> int:
        """One night: more documents, their job scored to its end; returns it."""
        world = self.world
        self.documents += documents
        world.add_corpus(self.documents)
        world.later(3600)
        with world.session() as session:
            fired = run_now(session, "nightly", now=world.now, settings=world.settings)
        assert fired.job_id is not None
        self.score(moved=moved)
        assert world.state(fired.job_id) is JobState.SUCCEEDED
        return fired.job_id

    def score(self, *, moved: float = 0.0) -> None:
        """Claim and commit until nothing is left."""

        def store(session: Session, lease: Lease) -> StoredCounts:
            hashes = content_hashes(
                session, corpus_id=lease.corpus_id, start_row=lease.start_row, stop_row=lease.stop_row
            )
            rows = list(pending_rows(session, lease))
            tokens = np.full(len(rows), 100, np.int32)
            batch = ScoreBatch(
                rows=np.array(rows, np.int64),
                scores=scores_of(rows, moved=moved),
                tokens_total=tokens,
                tokens_seen=tokens,
            )
            assert lease.bundle_id is not None
            assert lease.fingerprint is not None
            predicted = write_predictions(
                session,
                job_id=lease.job_id,
                attempt_id=lease.attempt_id,
                bundle_id=lease.bundle_id,
                fingerprint=lease.fingerprint,
                labels=LABELS,
                decision=Decision.at(CUTS),
                batches=[batch] if rows else [],
                document_hashes=hashes,
            )
            return StoredCounts(predicted=predicted)

        while (lease := self.world.claim()) is not None:
            with self.world.session() as session:
                commit(session, lease, now=self.world.now, settings=self.world.settings, store=store)

    def watch(self) -> None:
        """One round of a worker's drift watch."""
        DriftWatch(
            database=self.world.database, settings=self.world.settings, should_stop=lambda: False
        ).run_once()

    def told(self, job_id: int) -> list[tuple[str, str]]:
        """Type and message of what the job was told about drift."""
        with self.world.database.reading() as session:
            lines = events_of(session, job_id)
        return [(line.type, line.message) for line in lines if line.type.startswith("drift.")]


@pytest.fixture
def nights(world: World, monkeypatch: pytest.MonkeyPatch) -> Nights:
    # The watch asks the database's clock, the world has one of its own.
    monkeypatch.setattr(drift_watch, "WATCHED_FOR", timedelta(days=36_500))
    settings = world.settings.model_copy(update={"shard_documents": 400})
    monkeypatch.setattr(world, "settings", settings)
    make_bundle(world)
    world.add_corpus(1)
    with world.session() as session:
        add_schedule(
            session,
            name="nightly",
            cron="0 2 * * *",
            timezone="UTC",
            corpus="opinions",
            bundle="postures",
            now=world.now,
        )
    return Nights(world=world)


def measured(world: World, job_id: int, **options: Any) -> Measured:
    with world.database.reading() as session:
        return measure_drift(session, job_id, home=world.settings.home, **options)


def asks(world: World, *words: object) -> Answer:
    url = world.database.engine.url.render_as_string(hide_password=False)
    user = User(home=world.settings.home, settings={"POSTQ_DATABASE_URL": url})
    return user.tries("drift", *words)


def test_the_first_night_is_compared_with_the_bundles_test_scores_and_later_ones_with_the_night_before(
    nights: Nights,
) -> None:
    first, second = nights.add(220), nights.add(150)
    nights.add(5)
    fourth = nights.add(120)
    found = measured(nights.world, first)
    assert found.reference.name == "the stored test scores of bundle 1"
    assert (found.drift.documents, found.left_out) == (200, 20)  # those the bundle learned from do not count
    assert measured(nights.world, second).reference.name == f"job {first}"
    assert measured(nights.world, fourth).reference.name == f"job {second}"  # the third night was too small
    assert all(not measured(nights.world, night).drift.alarms for night in (first, second, fourth))


def test_a_quiet_night_is_told_so_once_and_a_planted_shift_is_told_as_an_alarm(nights: Nights) -> None:
    quiet, shifted = nights.add(220), nights.add(150, moved=1.5)
    nights.watch()
    nights.watch()
    assert nights.told(quiet) == [("drift.none", "no drift against the stored test scores of bundle 1")]
    [(kind, message)] = nights.told(shifted)
    assert kind == "drift.alarm"
    assert f"alarms against job {quiet}: " in message
    assert " % of documents" in message
    drift = (nights.world.job(shifted).result or {})["drift"]
    assert drift["against"] == f"job {quiet}"
    assert drift["alarms"] >= 3
    nights.world.verify_all()


def test_a_job_that_nobody_scheduled_is_not_watched_but_may_be_asked_about(nights: Nights) -> None:
    world = nights.world
    job_id = world.classify(world.add_corpus(250))
    nights.score()
    nights.watch()
    assert nights.told(job_id) == []
    answer = asks(world, job_id)
    assert (answer.code, "No alarm." in answer.out) == (0, True)


def test_alarms_end_the_command_with_13_and_flips_with_8(nights: Nights) -> None:
    world = nights.world
    quiet = nights.add(220)
    shifted = nights.add(150, moved=1.5)
    answer = asks(world, shifted)
    assert answer.code == 13
    assert "alarms" in answer.out
    assert asks(world, quiet, "--against", shifted, "--json").code == 13
    again = world.classify(world.job(quiet).corpus_id)
    nights.score(moved=0.8)
    flipped = asks(world, again, "--against", quiet)
    assert flipped.code == 8
    assert "equal content and fingerprint" in flipped.err


def test_equal_scores_of_equal_content_are_no_flips_and_one_label_over_its_threshold_is(
    nights: Nights,
) -> None:
    world = nights.world
    first = nights.add(120)
    again = world.classify(world.job(first).corpus_id)
    nights.score()
    with world.database.reading() as session:
        same = find_flips(session, again)
    assert (same.compared, same.flipped) == (120, 0)
    nudged = sigmoid(np.array([-0.9, 0.1, 0.9])).astype("<f4")
    at = (prediction.c.job_id == again) & (prediction.c.row == 7)
    with world.session() as session:
        session.execute(sa.update(prediction).where(at).values(scores=nudged.tobytes()))
    with world.database.reading() as session:
        assert find_flips(session, again).flipped == 0  # other scores, the labels as stored
    with world.session() as session:
        labels = prediction_label.c
        session.execute(sa.delete(prediction_label).where(labels.job_id == again, labels.row == 7))
        session.execute(sa.insert(prediction_label).values(job_id=again, row=7, label="remanded", score=0.71))
        session.execute(sa.insert(prediction_label).values(job_id=again, row=7, label="affirmed", score=0.31))
    with world.database.reading() as session:
        found = find_flips(session, again)
    assert (found.compared, found.flipped) == (120, 1)
    assert found.examples == ((7, first, 7),)


def test_a_forgotten_job_is_not_looked_back_on_and_not_told_anything(nights: Nights) -> None:
    world = nights.world
    first = nights.add(120)
    again = world.classify(world.job(first).corpus_id)
    nights.score(moved=2.0)
    late = measured(world, first)
    with world.database.reading() as session:
        assert find_flips(session, again).flipped > 0
    with world.session() as session:
        forget_job(session, first)
    with world.database.reading() as session:
        assert find_flips(session, again).compared == 0
    with world.session() as session:
        assert not drift_watch.note_drift(session, late, now=world.now)


def test_what_cannot_be_compared_is_refused_in_words(nights: Nights) -> None:
    world = nights.world
    small = nights.add(15)  # all of them taught the bundle
    night = nights.add(150)
    other = THRESHOLDS.model_copy(update={"labels": THRESHOLDS.labels[::-1]})
    make_bundle(world, "turned", labels=LABELS[::-1], thresholds=other)
    make_bundle(world, "bare", scores=())
    for job_id, against, error, says in (
        (99, None, NotFound, "no job 99"),
        (small, None, Conflict, "learned from every document"),
        (night, str(night), BadInput, "with itself"),
        (night, str(small), Conflict, "learned from every document"),
        (night, "turned", LabelSetMismatch, "not the same"),
        (night, "bare", Conflict, "keeps no scores"),
        (night, "nobody", NotFound, "nobody"),
    ):
        with pytest.raises(error, match=says):
            measured(world, job_id, against=against)
    with pytest.raises(StopRequested):
        measured(world, night, should_stop=lambda: True)
    waiting = world.classify(world.add_corpus(3, name="few"))
    with pytest.raises(Conflict, match="once it has succeeded"):
        measured(world, waiting)


def test_another_bundles_scores_are_not_compared_but_its_labels_are(nights: Nights) -> None:
    make_bundle(nights.world, "other")
    night = nights.add(300, moved=1.5)
    found = measured(nights.world, night, against="other")
    assert {each.psi for each in found.drift.labels} == {None}
    assert {alarm.kind for alarm in found.drift.alarms} == {"label_share", "no_label"}


def test_a_night_that_cannot_be_compared_is_told_why_and_not_tried_again(nights: Nights) -> None:
    night = nights.add(150)
    (nights.world.settings.home / "bundles" / "postures" / "w.safetensors").unlink()
    nights.watch()
    nights.watch()
    [(kind, message)] = nights.told(night)
    assert kind == "drift.unknown"
    assert "w.safetensors" in message


def test_a_night_of_long_ago_is_left_in_peace(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift_watch, "WATCHED_FOR", timedelta(days=7))
    world = nights.world
    night = nights.add(150)
    with world.database.reading() as session:
        assert drift_watch.next_unwatched(session, now=world.now + timedelta(days=6)) == night
        assert drift_watch.next_unwatched(session, now=world.now + timedelta(days=8)) is None


def test_why_a_psi_is_missing_is_said_once_below_the_table(nights: Nights) -> None:
    make_bundle(nights.world, "other")
    night, small = nights.add(300), nights.add(60)
    assert "PSI –" not in asks(nights.world, night).out
    few = asks(nights.world, small).out
    assert few.rstrip().endswith("PSI –: scores are compared from 100 documents on either side.")
    foreign = asks(nights.world, night, "--against", "other").out
    assert foreign.rstrip().endswith("of another fingerprint, so only labels are compared.")
    assert (few + foreign).count("PSI –") == 2
