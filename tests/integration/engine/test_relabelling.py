"""Labels recomputed from stored scores: a job done shard by shard, finished by workers if need be."""

import pytest
import sqlalchemy as sa

from postq.errors import BadInput, Conflict, IntegrityError, NotFound
from postq.jobs.prune import forget_job, sweep_predictions
from postq.jobs.relabelling import begin_relabelling, require_finished_classification
from postq.jobs.submit import Submitted
from postq.learning.thresholds.decision import Decision
from postq.models.bundle import BundleRow
from postq.models.job import Job, JobState
from postq.models.tables import job, prediction, quarantine
from postq.predictions.query import PredictionFilter, predictions
from tests.integration.engine.relabelling import AT_HIGH, HIGH, begun, one_more
from tests.integration.engine.world import LABELS, World


def relabelled(world: World, source: int, bundle: int, decision: Decision = AT_HIGH) -> Submitted:
    made = begun(world, source, bundle)
    while one_more(world, made.job_id, source, bundle, decision):
        world.later(40)  # more than half a lease: those of the other shards must be prolonged
        world.maintain()
    return made


def classified(world: World, documents: int = 10) -> tuple[int, int]:
    """A corpus with an odd document, classified; returns corpus and job."""
    corpus = world.add_corpus(documents)
    world.add_bundle()
    job_id = world.classify(corpus)
    while (lease := world.claim()) is not None:
        world.commit(lease, failing={3: "ValueError: odd"} if lease.start_row <= 3 < lease.stop_row else {})
    assert world.state(job_id) is JobState.SUCCEEDED_WITH_QUARANTINE
    return corpus, job_id


def test_every_document_is_labelled_by_the_new_thresholds_exactly_once(world: World) -> None:
    corpus, source = classified(world)
    new = world.add_bundle("stricter", weights="w1 stricter")
    made = relabelled(world, source, new)
    verified = world.verify(made.job_id)
    assert world.state(made.job_id) is JobState.SUCCEEDED_WITH_QUARANTINE
    assert (verified.predicted, verified.quarantined, verified.skipped) == (9, 1, 0)
    with world.database.reading() as session:
        old = list(predictions(session, PredictionFilter(job_id=source)))
        found = list(predictions(session, PredictionFilter(job_id=made.job_id)))
    assert [one.scores for one in found] == [one.scores for one in old]
    assert [one.tokens_seen for one in found] == [one.tokens_seen for one in old]
    for one in found:
        assert dict(one.labels) == {label: score for label, score in one.scores if score >= 0.6}
    assert {one.bundle for one in found} == {"stricter"}
    world.verify_all()
    assert corpus == world.job(made.job_id).corpus_id


def test_rules_between_labels_decide_shard_by_shard_and_labels_keep_their_own_scores(world: World) -> None:
    _, source = classified(world)
    decision = Decision(thresholds=(0.6, 0.6, 0.6), implies=((0, 1),))
    made = relabelled(world, source, world.add_bundle("ruled", weights="w1 ruled"), decision)
    with world.database.reading() as session:
        found = list(predictions(session, PredictionFilter(job_id=made.job_id)))
    brought = 0
    for one in found:
        scores = dict(one.scores)
        reached = {label for label, score in scores.items() if score >= 0.6}
        expected = reached | ({LABELS[1]} if LABELS[0] in reached else set())
        assert dict(one.labels) == {label: scores[label] for label in expected}
        brought += len(expected - reached)
    assert len(found) == 9
    assert brought, "the scores are made so that some label comes by the rule alone"
    world.verify_all()


def test_a_nightly_run_with_the_new_bundle_finds_the_documents_scored(world: World) -> None:
    corpus, source = classified(world)
    relabelled(world, source, world.add_bundle("stricter", weights="w1 stricter"))
    nightly = world.classify(corpus, "stricter", only_new=True)
    world.work_off()
    verified = world.verify(nightly)
    # The quarantined document has no prediction, so that it is tried again.
    assert (verified.predicted, verified.skipped) == (1, 9)


def test_asking_twice_makes_one_job(world: World) -> None:
    _, source = classified(world)
    new = world.add_bundle("stricter", weights="w1 stricter")
    first, second = relabelled(world, source, new), relabelled(world, source, new)
    assert (first.created, second.created) == (True, False)
    assert first.job_id == second.job_id
    world.verify_all()


def test_what_a_killed_relabelling_left_is_done_by_workers_or_by_asking_again(world: World) -> None:
    _, source = classified(world)
    new = world.add_bundle("stricter", weights="w1 stricter")
    first = begun(world, source, new)
    assert one_more(world, first.job_id, source, new)
    assert world.state(first.job_id) is JobState.RUNNING
    assert world.claim() is None, "a shard was claimed while its relabelling may be going on"
    # When nobody goes on until the leases have run out
    world.later(61)
    world.maintain()
    assert not one_more(world, first.job_id, source, new)
    world.work_off()
    # Then workers have scored the rest, the document that was set apart among them
    assert world.state(first.job_id) is JobState.SUCCEEDED
    assert relabelled(world, source, new).job_id == first.job_id
    world.verify_all()


def test_asking_again_goes_on_where_a_killed_relabelling_stood(world: World) -> None:
    _, source = classified(world)
    new = world.add_bundle("stricter", weights="w1 stricter")
    first = begun(world, source, new)
    assert one_more(world, first.job_id, source, new)
    assert relabelled(world, source, new) == Submitted(job_id=first.job_id, created=False)
    assert world.state(first.job_id) is JobState.SUCCEEDED_WITH_QUARANTINE
    world.verify_all()


def test_a_job_that_skipped_documents_is_relabelled_as_far_as_it_went(world: World) -> None:
    corpus, _ = classified(world)
    again = world.classify(corpus, only_new=True)
    world.work_off()
    made = relabelled(world, again, world.add_bundle("stricter", weights="w1 stricter"))
    verified = world.verify(made.job_id)
    assert (verified.predicted, verified.skipped) == (1, 9)


def test_a_split_shard_is_copied_by_the_pieces_that_replaced_it(world: World) -> None:
    corpus = world.add_corpus(8)
    world.add_bundle()
    source = world.classify(corpus)
    world.work_off(poison=frozenset({5}))
    made = relabelled(world, source, world.add_bundle("stricter", weights="w1 stricter"))
    verified = world.verify(made.job_id)
    assert (verified.predicted, verified.quarantined) == (7, 1)


def test_a_source_forgotten_meanwhile_is_not_passed_over_in_silence(world: World) -> None:
    _, source = classified(world)
    new = world.add_bundle("stricter", weights="w1 stricter")
    made = begun(world, source, new)
    assert one_more(world, made.job_id, source, new)
    with world.session() as session:
        forget_job(session, source)
        sweep_predictions(session)
    with pytest.raises(Conflict, match="was forgotten while"):
        one_more(world, made.job_id, source, new)
    # Then workers score the rest, and no document is taken for one that was scored before
    world.later(61)
    world.maintain()
    world.work_off()
    verified = world.verify(made.job_id)
    assert (verified.predicted, verified.skipped) == (10, 0)


def test_a_source_forgotten_before_the_first_step_is_told_and_no_job_is_made_of_it(world: World) -> None:
    _, source = classified(world)
    new = world.add_bundle("stricter", weights="w1 stricter")
    with world.database.reading() as session:
        looked_up = require_finished_classification(session, source)
        bundle = session.get_one(BundleRow, new)
    with world.session() as session:
        forget_job(session, source)
    with world.session() as session, pytest.raises(Conflict, match="was forgotten while"):
        begin_relabelling(session, looked_up, bundle=bundle, now=world.now, settings=world.settings)
    with world.database.reading() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(job)) == 0


@pytest.mark.parametrize("state", [JobState.READY, JobState.RUNNING, JobState.CANCELLED])
def test_a_job_that_has_not_succeeded_is_refused(world: World, state: JobState) -> None:
    corpus = world.add_corpus(3)
    world.add_bundle()
    source = world.classify(corpus)
    with world.session() as session:
        session.execute(sa.update(job).where(job.c.id == source).values(state=state))
    with pytest.raises(Conflict, match=f"is {state.value}"):
        relabelled(world, source, world.add_bundle("stricter", weights="w1 stricter"))


def test_other_kinds_unknown_jobs_and_equal_thresholds_are_refused(world: World) -> None:
    corpus, source = classified(world)
    training = world.train(corpus, "other")
    same = world.job(source).bundle_id
    assert same is not None
    with pytest.raises(BadInput, match="not a classification"):
        relabelled(world, training, same)
    with pytest.raises(NotFound):
        relabelled(world, 999, same)
    with pytest.raises(Conflict, match="these very thresholds"):
        relabelled(world, source, same)


def test_nothing_is_written_when_rows_and_counts_disagree(world: World) -> None:
    _, source = classified(world)
    new = world.add_bundle("stricter", weights="w1 stricter")
    with world.session() as session:
        session.execute(sa.delete(prediction).where(prediction.c.job_id == source, prediction.c.row == 0))
    with pytest.raises(IntegrityError, match="counts 9 as predicted and 1 as quarantined, but 8 predictions"):
        relabelled(world, source, new)
    with world.database.reading() as session:
        assert session.scalar(sa.select(sa.func.max(Job.id))) == source
        stored = sa.select(sa.func.count()).select_from(quarantine).where(quarantine.c.job_id != source)
        assert session.scalar(stored) == 0
    assert len(LABELS) == len(HIGH)
