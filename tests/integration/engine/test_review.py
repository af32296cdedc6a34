"""The review queue ranks the stored scores of a whole job, chunk by chunk."""

import pytest

from postq.learning.review import Judge
from postq.learning.thresholds.decision import Decision
from postq.learning.tiers import Tier
from postq.predictions import stored
from postq.predictions.query import PredictionFilter, predictions
from postq.predictions.review import ReviewItem, review_queue
from tests.integration.engine.world import LABELS, THRESHOLDS, World

JUDGE = Judge(
    labels=LABELS,
    decision=Decision.at(THRESHOLDS),
    tiers=(Tier.AUTO, Tier.REVIEW, Tier.MANUAL),
)


@pytest.fixture
def job_id(world: World) -> int:
    """A classification of 23 documents that has ended."""
    world.add_bundle()
    submitted = world.classify(world.add_corpus(23))
    world.work_off()
    return submitted


def queue(world: World, job_id: int, *, limit: int) -> list[ReviewItem]:
    corpus = world.job(job_id).corpus_id
    with world.database.reading() as session:
        return review_queue(session, job_id=job_id, corpus_id=corpus, judge=JUDGE, limit=limit)


def test_chunks_do_not_change_the_ranking(world: World, job_id: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = queue(world, job_id, limit=1000)
    monkeypatch.setattr(stored, "CHUNK", 3)
    assert queue(world, job_id, limit=1000) == whole
    assert queue(world, job_id, limit=4) == whole[:4]
    assert [one.need for one in whole] == sorted((one.need for one in whole), reverse=True)
    assert [one.rank for one in whole] == list(range(1, len(whole) + 1))


def test_each_document_shows_what_was_predicted_for_it(world: World, job_id: int) -> None:
    found = {one.document_id: one for one in queue(world, job_id, limit=1000)}
    with world.database.reading() as session:
        for view in predictions(session, PredictionFilter(job_id=job_id)):
            if view.document_id in found:
                assert dict(found[view.document_id].labels) == pytest.approx(dict(view.labels))
    assert len(found) > 5
