"""Fault 1 for encoders: a classification killed, split and cut otherwise has the digest of a quiet one."""

import pytest

from postq.crash_points import CrashPoint
from postq.models.shard import ShardState
from tests.faults.accounting import check_invariants, result_digest
from tests.faults.ground import Ground
from tests.faults.tiny_encoder import encoder_spec

pytest.importorskip("torch")


@pytest.mark.slow
@pytest.mark.fault(1)
@pytest.mark.usual("sqlite-embedded")
def test_an_encoder_s_result_does_not_depend_on_how_its_work_was_cut(ground: Ground) -> None:
    # Given a tiny Longformer and what it finds when nothing happens, in shards of ten documents
    trained = ground.train(encoder_spec(ground, epochs=1))
    quiet = ground.classify(bundle=f"job:{trained}", after_job_id=trained)
    ground.start_worker(**ground.at(CrashPoint.BEFORE_RESULT, nth=8), POSTQ_CRASH_BUDGET="1")
    assert ground.wait_for_end(trained, quiet, timeout=240) == ["succeeded"] * 2
    # When the same is done in shards of 25, and the runner of the second one is killed, so that it is split
    ground.settings = ground.settings.model_copy(update={"shard_documents": 25})
    disturbed = ground.classify(bundle=f"job:{trained}")
    assert ground.wait_for_end(disturbed, timeout=240) == ["succeeded"]
    # Then it is the same result to the last bit
    assert len(ground.shards(quiet)) == 6
    assert [one.state for one in ground.shards(disturbed)].count(ShardState.SPLIT) == 1
    check_invariants(ground, quiet, disturbed, digest=result_digest(ground, quiet))
