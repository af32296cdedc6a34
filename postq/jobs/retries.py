"""What follows a failed attempt: again after a wait, in two halves, one document set apart, or the end."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.contracts.failure import FailureClass
from postq.db import storable
from postq.jobs.finish import settle
from postq.jobs.leases import Lease, cancel_requested, end_attempt, held_by, lease_of, pending_rows
from postq.jobs.placement import others_fit
from postq.jobs.splitting import quarantine_last, split
from postq.jobs.states import move_shards
from postq.models.attempt import AttemptOutcome
from postq.models.shard import ShardState
from postq.models.tables import shard
from postq.settings import Settings

LONGEST_WAIT_SECONDS = 300.0
LARGEST_DIVISOR = 1024
"""A batch that does not fit after being divided by this is one document that does not fit."""


class Action(StrEnum):
    """What becomes of the shard."""

    RETRY = "retry"
    SPLIT = "split"
    QUARANTINE = "quarantine"
    DEAD = "dead"
    CANCELLED = "cancelled"
    FENCED = "fenced"  # the lease was lost before: nothing was written


class Budget(StrEnum):
    """Which count a failure draws on."""

    RETRY = "retry"  # `settings.retry_budget` failed attempts
    CRASH = "crash"  # `settings.crash_budget` crashes; then the shard is suspected, not the worker
    OTHERS = "others"  # living workers it fits that have not said they cannot
    NONE = "none"  # the next attempt would fail alike


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How one class of failure is treated."""

    budget: Budget
    isolate: bool = False
    """When the budget is used up, look for the document at fault before giving up."""
    smaller_batch: bool = False
    wait_factor: float = 1.0
    most: int | None = None
    """A smaller limit than the budget's setting."""


POLICIES: dict[FailureClass, Policy] = {
    FailureClass.CRASH: Policy(budget=Budget.CRASH, isolate=True),
    FailureClass.HOST_OOM: Policy(budget=Budget.CRASH, isolate=True, wait_factor=5.0),
    FailureClass.STALLED: Policy(budget=Budget.CRASH, isolate=True),
    FailureClass.NOT_BEGUN: Policy(budget=Budget.RETRY, wait_factor=5.0),
    FailureClass.CUDA_OOM: Policy(budget=Budget.RETRY, isolate=True, smaller_batch=True),
    FailureClass.DEVICE_FULL: Policy(budget=Budget.RETRY, wait_factor=5.0),
    FailureClass.UNFIT: Policy(budget=Budget.OTHERS, wait_factor=0.0),
    FailureClass.NAN_LOSS: Policy(budget=Budget.RETRY, most=1),
    FailureClass.DISK_FULL: Policy(budget=Budget.RETRY, wait_factor=15.0),
    FailureClass.LOST: Policy(budget=Budget.RETRY, isolate=True, wait_factor=0.0),
    FailureClass.ERROR: Policy(budget=Budget.RETRY),
    FailureClass.BAD_INPUT: Policy(budget=Budget.NONE),
    FailureClass.INTEGRITY: Policy(budget=Budget.NONE),
}
"""A lost lease waits for nothing, since the worker is at fault and not the work; if it keeps being lost,
the work is suspected after all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the shard, and when it may be claimed again."""

    action: Action
    not_before: datetime | None = None


def fail_attempt(
    session: Session,
    lease: Lease,
    *,
    failure: FailureClass,
    message: str,
    now: datetime,
    settings: Settings,
    hint: str = "",
) -> Outcome:
    """Book a failed attempt and decide what follows; fenced like every write of a worker."""
    message, hint = storable(message), storable(hint)
    outcome = AttemptOutcome.LOST if failure is FailureClass.LOST else AttemptOutcome.FAILED
    held = session.scalar(
        sa.select(shard.c.id)
        .where(*held_by(lease), shard.c.state == ShardState.LEASED)
        .with_for_update(key_share=True)
    )
    if held is None:
        end_attempt(session, lease, AttemptOutcome.FENCED, now=now, failure=failure, message=message)
        return Outcome(action=Action.FENCED)
    end_attempt(session, lease, outcome, now=now, failure=failure, message=message)
    current = lease_of(session, lease.shard_id)  # a checkpoint may have forgiven failures since the claim
    session.execute(
        sa.update(shard).where(*held_by(lease)).values(failure=failure, error=message, hint=hint or None)
    )
    decided = _decide(session, current, failure, now=now, settings=settings)
    _ACTS[decided](session, current, failure=failure, message=message, now=now, settings=settings)
    settle(session, lease.job_id, now=now, settings=settings)
    wait = _wait(current, failure, settings) if decided is Action.RETRY else None
    return Outcome(action=decided, not_before=now + wait if wait is not None else None)


def backoff(
    *, failures: int, shard_id: int, token: int, first_seconds: float, factor: float = 1.0
) -> timedelta:
    """The wait before the next attempt: doubling, at most five minutes, spread by ±25 %.

    The spread is drawn from the shard and its token, so that tests can foresee it.
    """
    seconds = min(LONGEST_WAIT_SECONDS, first_seconds * factor * 2.0 ** (failures - 1))
    drawn = int.from_bytes(hashlib.sha256(f"{shard_id}:{token}".encode()).digest()[:4], "big") / 2**32
    return timedelta(seconds=seconds * (0.75 + 0.5 * drawn))


def _decide(
    session: Session, lease: Lease, failure: FailureClass, *, now: datetime, settings: Settings
) -> Action:
    if cancel_requested(session, lease.job_id):
        return Action.CANCELLED
    policy = POLICIES[failure]
    if policy.budget is Budget.OTHERS:
        able = others_fit(session, lease, now=now, settings=settings)
        return Action.RETRY if able else Action.DEAD
    if _may_try_again(lease, policy, settings):
        return Action.RETRY
    if not (policy.isolate and lease.splittable):
        return Action.DEAD
    return Action.SPLIT if len(pending_rows(session, lease)) > 1 else Action.QUARANTINE


def _may_try_again(lease: Lease, policy: Policy, settings: Settings) -> bool:
    if policy.smaller_batch and lease.batch_divisor >= LARGEST_DIVISOR:
        return False
    match policy.budget:
        case Budget.RETRY:
            limit = settings.retry_budget if policy.most is None else min(policy.most, settings.retry_budget)
            return lease.attempts + 1 <= limit
        case Budget.CRASH:
            return lease.crashes + 1 < settings.crash_budget
        case _:
            return False


def _wait(lease: Lease, failure: FailureClass, settings: Settings) -> timedelta:
    policy = POLICIES[failure]
    failures = (lease.crashes if policy.budget is Budget.CRASH else lease.attempts) + 1
    return backoff(
        failures=failures,
        shard_id=lease.shard_id,
        token=lease.token,
        first_seconds=settings.backoff_seconds,
        factor=policy.wait_factor,
    )


def _again(
    session: Session, lease: Lease, *, failure: FailureClass, message: str, now: datetime, settings: Settings
) -> None:
    policy = POLICIES[failure]
    values: dict[str, Any] = {
        "attempts": lease.attempts + (policy.budget is Budget.RETRY),
        "crashes": lease.crashes + (policy.budget is Budget.CRASH),
        "batch_divisor": lease.batch_divisor * (2 if policy.smaller_batch else 1),
        "not_before": now + _wait(lease, failure, settings),
    }
    _move(session, lease, ShardState.READY, f"{failure}: {message}", now, **values)


def _dead(
    session: Session, lease: Lease, *, failure: FailureClass, message: str, now: datetime, settings: Settings
) -> None:
    del settings
    _move(session, lease, ShardState.DEAD, f"{failure}: {message}", now)


def _cancelled(
    session: Session, lease: Lease, *, failure: FailureClass, message: str, now: datetime, settings: Settings
) -> None:
    del failure, message, settings
    _move(session, lease, ShardState.CANCELLED, "cancelled", now)


def _move(
    session: Session, lease: Lease, target: ShardState, message: str, now: datetime, **values: Any
) -> None:
    move_shards(
        session,
        *held_by(lease),
        source=ShardState.LEASED,
        target=target,
        now=now,
        message=message,
        **values,
    )


_ACTS = {
    Action.RETRY: _again,
    Action.SPLIT: split,
    Action.QUARANTINE: quarantine_last,
    Action.DEAD: _dead,
    Action.CANCELLED: _cancelled,
}
