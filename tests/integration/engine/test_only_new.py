"""Scoring what is new: by content and fingerprint, across corpora, versions and bundles."""

from postq.jobs.leases import pending_rows
from postq.models.job import JobState
from tests.integration.engine.world import World


def test_a_second_run_finds_nothing_new_and_says_so(world: World) -> None:
    world.add_corpus(10)
    world.add_bundle()
    world.classify(1)
    world.work_off()
    again = world.job(world.classify(1, only_new=True))
    assert again.state is JobState.SUCCEEDED
    assert again.reason.startswith("nothing new: every document")
    assert (again.documents_skipped, again.documents_predicted) == (10, 0)
    world.verify_all()


def test_only_documents_with_new_content_are_scored(world: World) -> None:
    world.add_corpus(20)
    world.add_bundle()
    world.classify(1, only_new=True)
    world.work_off()
    grown = world.add_corpus(22, texts=lambda row: "changed" if row == 3 else f"text {row}")
    job_id = world.classify(grown, only_new=True)
    ranges = [(one.start_row, one.stop_row) for one in world.shards(job_id)]
    assert ranges == [(3, 22)]
    lease = world.must_claim()
    with world.database.reading() as session:
        assert pending_rows(session, lease) == (3, 20, 21)
    assert world.commit(lease)
    found = world.job(job_id)
    assert (found.documents_predicted, found.documents_skipped) == (3, 19)
    world.verify_all()


def test_another_fingerprint_makes_everything_new(world: World) -> None:
    world.add_corpus(8)
    world.add_bundle()
    world.classify(1)
    world.work_off()
    world.add_bundle(weights="w2")
    job_id = world.classify(1, only_new=True)
    world.work_off()
    assert world.job(job_id).documents_predicted == 8


def test_equal_documents_within_a_corpus_are_all_scored(world: World) -> None:
    world.add_corpus(12, texts=lambda row: f"text {row % 3}")
    world.add_bundle()
    job_id = world.classify(1, only_new=True)
    world.work_off()
    assert world.job(job_id).documents_predicted == 12
    world.verify_all()


def test_what_another_job_scored_meanwhile_is_not_scored_again(world: World) -> None:
    world.add_corpus(8)
    world.add_bundle()
    waiting = world.classify(1, only_new=True)
    world.classify(1, priority=1)
    for _ in range(2):
        world.commit(world.must_claim())
    world.work_off()
    found = world.job(waiting)
    assert (found.state, found.documents_predicted, found.documents_skipped) == (JobState.SUCCEEDED, 0, 8)
    world.verify_all()


def test_a_poisonous_new_document_is_isolated_among_scored_ones(world: World) -> None:
    world.add_corpus(40)
    world.add_bundle()
    world.classify(1)
    world.work_off()
    grown = world.add_corpus(40, texts=lambda row: f"new {row}" if row % 10 == 0 else f"text {row}")
    job_id = world.classify(grown, only_new=True)
    world.work_off(poison=frozenset({20}))
    found = world.job(job_id)
    assert found.state is JobState.SUCCEEDED_WITH_QUARANTINE
    counts = (found.documents_predicted, found.documents_quarantined, found.documents_skipped)
    assert counts == (3, 1, 36)
    world.verify_all()


def test_the_bundle_is_pinned_when_the_job_is_ready_and_not_when_it_runs(world: World) -> None:
    world.add_corpus(4)
    first = world.add_bundle()
    job_id = world.classify(1)
    world.add_bundle(weights="w2")
    assert world.must_claim().bundle_id == first == world.job(job_id).bundle_id
