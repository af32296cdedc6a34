"""Fault 1 for encoders: a classification killed, split and cut otherwise has the digest of a quiet one."""

import pytest

from postq.corpus.location import Input
from postq.crash_points import CrashPoint
from postq.models.shard import ShardState
from postq.registry.intake import add_corpus
from tests.faults.accounting import check_invariants, result_digest
from tests.faults.ground import Ground
from tests.faults.stock import write_opinions
from tests.faults.tiny_encoder import TrainedEncoder

pytest.importorskip("torch")


@pytest.mark.slow
@pytest.mark.fault(1)
@pytest.mark.usual("sqlite-embedded")
def test_an_encoder_s_result_does_not_depend_on_how_its_work_was_cut(
    ground: Ground, trained_encoder: TrainedEncoder
) -> None:
    # Given a tiny Longformer and what it finds when nothing happens, in shards of ten documents
    bundle = trained_encoder.put_on(ground)
    quiet = ground.classify(bundle=bundle)
    ground.start_worker(**ground.at(CrashPoint.BEFORE_RESULT, nth=8), POSTQ_CRASH_BUDGET="1")
    assert ground.wait_for_end(quiet, timeout=240) == ["succeeded"]
    # When the same is done in shards of 25, and the runner of the second one is killed, so that it is split
    ground.settings = ground.settings.model_copy(update={"shard_documents": 25})
    disturbed = ground.classify(bundle=bundle)
    assert ground.wait_for_end(disturbed, timeout=240) == ["succeeded"]
    # Then it is the same result to the last bit
    assert len(ground.shards(quiet)) == 6
    assert [one.state for one in ground.shards(disturbed)].count(ShardState.SPLIT) == 1
    check_invariants(ground, quiet, disturbed, digest=result_digest(ground, quiet))


@pytest.mark.slow
@pytest.mark.fault(1)
@pytest.mark.usual("sqlite-embedded")
def test_a_document_that_kills_the_runner_while_it_is_read_ahead_costs_one_attempt(
    ground: Ground, trained_encoder: TrainedEncoder
) -> None:
    # Given two shards: in the first the runner lags, so that the second is read ahead, where it is killed
    poison = {40: "poisonslow", 65: "poisononce"}
    file = write_opinions(ground.scratch / "ahead.jsonl", poison=poison, documents=120)
    added = add_corpus(ground.database, ground.settings, name="ahead", inputs=[Input(path=str(file))])
    assert added.id is not None
    ground.settings = ground.settings.model_copy(update={"shard_documents": 60})
    bundle, killed = trained_encoder.put_on(ground), ground.scratch / "killed"
    # When a worker with a core to spare for tokens is at it
    worker = ground.start_worker(POSTQ_TOKENISER_PROCESSES="1", POISON_ONCE=str(killed))
    job_id = ground.classify(corpus_id=added.id, bundle=bundle)
    assert ground.wait_for_end(job_id, timeout=240) == ["succeeded"]
    # Then whichever shard is blamed has one crash, and all documents are there, as they would be without
    assert killed.exists()
    assert worker.said("The next shard was claimed.")
    assert sum(one.crashes for one in ground.shards(job_id)) == 1
    again = ground.classify(corpus_id=added.id, bundle=bundle)
    assert ground.wait_for_end(again, timeout=240) == ["succeeded"]
    check_invariants(ground, job_id, digest=result_digest(ground, again))
