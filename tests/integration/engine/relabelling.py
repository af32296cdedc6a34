"""Relabelling in the small world: begun, then gone on with shard by shard, as `postq rethreshold` does."""

import numpy as np

from postq.jobs.relabelling import begin_relabelling, relabel_next, require_finished_classification
from postq.jobs.submit import Submitted
from postq.learning.thresholds.decision import Decision
from postq.models import BundleRow
from tests.integration.engine.world import World

HIGH = np.array([0.6, 0.6, 0.6])
AT_HIGH = Decision.at(HIGH)


def begun(world: World, source: int, bundle: int) -> Submitted:
    """Begin to label `source` anew by `bundle`."""
    with world.session() as session:
        return begin_relabelling(
            session,
            require_finished_classification(session, source),
            bundle=session.get_one(BundleRow, bundle),
            now=world.now,
            settings=world.settings,
        )


def one_more(world: World, job_id: int, source: int, bundle: int, decision: Decision = AT_HIGH) -> bool:
    """Label one shard more; False when none is left."""
    with world.session() as session:
        return relabel_next(
            session,
            job_id,
            source_id=source,
            bundle_id=bundle,
            decision=decision,
            now=world.now,
            settings=world.settings,
        )
