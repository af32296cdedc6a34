"""Submitting: one transaction, one job per key, and a clear refusal of what cannot work."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from postq.contracts.failure import FailureClass
from postq.contracts.specs import ClassifySpec, Requirements
from postq.errors import Conflict, LabelSetMismatch, NotFound, NotTrainable
from postq.jobs.queries import events_of
from postq.jobs.submit import submit
from postq.models.corpus import Corpus
from postq.models.job import Job, JobState
from postq.models.tables import event, job, shard
from tests.integration.engine.world import World


def test_a_submit_records_job_shards_and_events_together(world: World) -> None:
    corpus = world.add_corpus(10)
    world.add_bundle()
    job_id = world.classify(corpus, requirements=Requirements(device_kind="cuda", memory_bytes=5), priority=7)
    found = world.job(job_id)
    assert (found.state, found.documents_total, found.priority) == (JobState.READY, 10, 7)
    assert found.fingerprint is not None
    ranges = [(one.start_row, one.stop_row) for one in world.shards(job_id)]
    assert ranges == [(0, 3), (3, 6), (6, 10)]
    assert {(one.device_kind, one.memory_bytes, one.priority) for one in world.shards(job_id)} == {
        ("cuda", 5, 7)
    }
    with world.database.reading() as session:
        assert [line.type for line in events_of(session, job_id)] == ["job.state", "job.planned"]


@pytest.mark.parametrize(
    ("kind", "asked", "told"),
    [
        ("tfidf", {}, ""),
        ("tfidf", {"precision": "bf16"}, "on which --precision has no effect"),
        (
            "tfidf",
            {"precision": "fp32", "max_tokens_per_batch": 9},
            "on which --max-tokens-per-batch and --precision have no effect",
        ),
        ("encoder", {"precision": "bf16"}, ""),
        ("ensemble", {"precision": "bf16"}, ""),
    ],
)
def test_what_no_model_of_the_bundle_heeds_is_told(
    world: World, kind: str, asked: dict[str, Any], told: str
) -> None:
    corpus = world.add_corpus()
    world.add_bundle(kind=kind)
    submitted = world.try_submit(ClassifySpec(corpus_id=corpus, bundle="postures", **asked))
    assert told in submitted.note
    assert bool(submitted.note) == bool(told)


def test_nothing_stays_of_a_submit_whose_transaction_fails(world: World) -> None:
    corpus = world.add_corpus()
    world.add_bundle()
    spec = ClassifySpec(corpus_id=corpus, bundle="postures")

    def submit_and_break() -> None:
        with world.session() as session:
            submit(session, spec, now=world.now, settings=world.settings)
            raise RuntimeError("the caller's transaction breaks")

    with pytest.raises(RuntimeError, match="breaks"):
        submit_and_break()
    with world.database.reading() as session:
        counts = [
            session.scalar(sa.select(sa.func.count()).select_from(table)) for table in (job, shard, event)
        ]
    assert counts == [0, 0, 0]


def test_unknown_things_are_refused_with_the_nearest_name(world: World) -> None:
    corpus = world.add_corpus()
    world.add_bundle()
    with pytest.raises(NotFound, match="no corpus 99"):
        world.classify(99)
    with pytest.raises(NotFound, match="no bundle 'posture'") as caught:
        world.classify(corpus, "posture")
    assert "postures" in caught.value.hint
    with pytest.raises(NotFound, match="no alias"):
        world.classify(corpus, "@production")
    with pytest.raises(NotFound, match="no job 77"):
        world.classify(corpus, after_job_id=77)
    with pytest.raises(NotFound, match="no job 77"):
        world.classify(corpus, "job:77")


def test_a_corpus_without_labels_is_not_trained_or_evaluated_on(world: World) -> None:
    corpus = world.add_corpus(labelled=False)
    world.add_bundle()
    with pytest.raises(NotTrainable, match="no labels to train on"):
        world.train(corpus)
    with pytest.raises(NotTrainable, match="no labels to evaluate on"):
        world.evaluate(corpus)
    assert world.state(world.classify(corpus)) is JobState.READY


def test_an_evaluation_on_other_labels_is_refused(world: World) -> None:
    corpus = world.add_corpus()
    world.add_bundle()
    with world.session() as session:
        session.get_one(Corpus, corpus).facts = {"label_counts": {"grain": 3, "wheat": 2}}
    with pytest.raises(LabelSetMismatch):
        world.evaluate(corpus)


def test_the_same_key_gives_the_same_job_and_another_spec_is_refused(world: World) -> None:
    corpus = world.add_corpus()
    world.add_bundle()
    spec = ClassifySpec(corpus_id=corpus, bundle="postures")
    first = world.try_submit(spec, idempotency_key="nightly")
    second = world.try_submit(spec, idempotency_key="nightly")
    assert (first.created, second.created) == (True, False)
    assert first.job_id == second.job_id
    other = ClassifySpec(corpus_id=corpus, bundle="postures", only_new=True)
    with pytest.raises(Conflict, match="nightly"):
        world.try_submit(other, idempotency_key="nightly")
    assert world.try_submit(spec).job_id != first.job_id


def test_a_key_stands_for_priority_and_start_too(world: World) -> None:
    corpus = world.add_corpus()
    world.add_bundle()
    first = world.classify(corpus, idempotency_key="nightly", priority=7)
    assert world.classify(corpus, idempotency_key="nightly", priority=7) == first
    with pytest.raises(Conflict, match="job 1 with priority 7 instead of 100"):
        world.classify(corpus, idempotency_key="nightly")
    with pytest.raises(Conflict, match="another rule for when it starts"):
        world.classify(corpus, idempotency_key="nightly", priority=7, after_any=True)


def test_a_key_for_a_bundle_still_being_made_finds_its_job_again(world: World) -> None:
    corpus = world.add_corpus()
    training = world.train(corpus)
    first = world.classify(corpus, f"job:{training}", idempotency_key="first scores")
    assert world.classify(corpus, f"job:{training}", idempotency_key="first scores") == first
    with world.session() as session:  # as of before an option was known
        session.get_one(Job, first).spec_digest = "of another spec"
    assert world.classify(corpus, f"job:{training}", idempotency_key="first scores") == first
    other = world.train(corpus)
    with pytest.raises(Conflict, match="other contents"):
        world.classify(corpus, f"job:{training}", idempotency_key="first scores", after_job_id=other)


def test_a_key_finds_a_job_from_before_an_option_was_known(world: World) -> None:
    corpus = world.add_corpus()
    first = world.train(corpus, idempotency_key="weekly")
    with world.session() as session:
        stored = session.get_one(Job, first)
        stored.spec = {key: value for key, value in stored.spec.items() if key != "devices"}
        stored.spec_digest = "of that spec"
    assert world.train(corpus, idempotency_key="weekly") == first
    with pytest.raises(Conflict, match="weekly"):
        world.train(corpus, idempotency_key="weekly", requirements=Requirements(device_kind="cuda"))
    with pytest.raises(Conflict, match="weekly"):
        world.train(corpus, name="others", idempotency_key="weekly")


def test_fifty_concurrent_submits_with_one_key_make_one_job(world: World) -> None:
    corpus = world.add_corpus()
    world.add_bundle()
    spec = ClassifySpec(corpus_id=corpus, bundle="postures")

    def once(_: int) -> tuple[int, bool]:
        made = world.try_submit(spec, idempotency_key="fifty")
        return made.job_id, made.created

    with ThreadPoolExecutor(16) as pool:
        made = list(pool.map(once, range(50)))
    assert len({job_id for job_id, _ in made}) == 1
    assert sum(created for _, created in made) == 1
    with world.database.reading() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(job)) == 1
        assert session.scalar(sa.select(sa.func.count()).select_from(shard)) == 3


def test_a_corpus_without_documents_ends_at_once_and_says_so(world: World) -> None:
    corpus = world.add_corpus(0)
    world.add_bundle()
    found = world.job(world.classify(corpus))
    assert found.state is JobState.SUCCEEDED
    assert "no documents" in found.reason
    world.verify_all()


def test_nothing_can_follow_a_failed_job_but_what_starts_however_it_ended(world: World) -> None:
    corpus = world.add_corpus()
    world.add_bundle()
    failed = world.train(corpus, "broken")
    _fail_for_good(world)
    with pytest.raises(Conflict, match="nothing can follow"):
        world.classify(corpus, after_job_id=failed)
    assert world.state(world.classify(corpus, after_job_id=failed, after_any=True)) is JobState.READY


def test_a_bundle_of_an_unfinished_job_is_waited_for_without_being_told(world: World) -> None:
    corpus = world.add_corpus()
    training = world.train(corpus)
    scoring = world.classify(corpus, f"job:{training}")
    found = world.job(scoring)
    assert (found.state, found.after_job_id) == (JobState.BLOCKED, training)
    assert found.bundle_id is None


def test_a_wait_that_cannot_bring_the_bundle_is_refused(world: World) -> None:
    corpus = world.add_corpus()
    first, second = world.train(corpus, "one"), world.train(corpus, "two")
    with pytest.raises(Conflict, match=f"job {second} does not wait for it"):
        world.classify(corpus, f"job:{first}", after_job_id=second)
    evaluation = world.evaluate(corpus, f"job:{first}", after_job_id=first)
    assert world.state(world.classify(corpus, f"job:{first}", after_job_id=evaluation)) is JobState.BLOCKED


def test_ten_million_documents_are_planned_without_reading_one(world: World) -> None:
    corpus = world.add_corpus(10_000_000, words=400, rows=False)
    world.add_bundle()
    world.settings = world.settings.model_copy(update={"shard_documents": 5000})
    job_id = world.classify(corpus)
    shards = world.shards(job_id)
    assert len(shards) == 2000
    assert sum(one.stop_row - one.start_row for one in shards) == 10_000_000


def _fail_for_good(world: World) -> None:
    world.fail(world.must_claim(), FailureClass.BAD_INPUT)
