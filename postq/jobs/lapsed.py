"""Leases that ran out: the worker, machine or network behind them is gone, or was frozen."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.contracts.failure import FailureClass
from postq.jobs.leases import lease_of
from postq.jobs.retries import Action, fail_attempt
from postq.models.shard import ShardState
from postq.models.tables import shard
from postq.settings import Settings


def take_back_lapsed(
    session: Session, *, now: datetime, settings: Settings, at_most: int, job_id: int | None = None
) -> list[Action]:
    """Take back shards whose lease ran out, of one job or of all; what became of each.

    Anybody may do so: whoever held one is fenced from then on.
    """
    lapsed = (
        sa.select(shard.c.id)
        .where(shard.c.state == ShardState.LEASED, shard.c.lease_until < now)
        .order_by(shard.c.job_id, shard.c.id)
        .limit(at_most)
        .with_for_update(skip_locked=True)
    )
    if job_id is not None:
        lapsed = lapsed.where(shard.c.job_id == job_id)
    actions = []
    for shard_id in session.scalars(lapsed).all():
        lease = lease_of(session, shard_id)
        outcome = fail_attempt(
            session,
            lease,
            failure=FailureClass.LOST,
            message=f"the lease of worker {lease.worker_id} ran out",
            now=now,
            settings=settings,
        )
        actions.append(outcome.action)
    return actions
