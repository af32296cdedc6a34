"""Why a job is in its state, said in one sentence from rows read a moment ago."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from postq.counted import counted
from postq.jobs.placement import DRAINING, fits, placed_together, takers
from postq.jobs.states import JOB_TERMINAL
from postq.models.job import Job, JobState
from postq.models.shard import ShardState
from postq.models.worker import Worker

SOON = timedelta(seconds=60)
"""An idle worker claims what fits it within a few seconds; after this long something is amiss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFacts:
    """The shards of one job in one state, summed up."""

    count: int
    claimable: int
    """Those whose `not_before` is past, or that have none."""
    next_at: datetime | None
    """Earliest `not_before`."""
    claimable_since: datetime | None
    """Since when the one that waited longest could be claimed."""
    progress_done: int
    lapsed: int = 0
    """Leased ones whose lease has run out: their workers are gone, and nobody has taken them back yet."""


ShardsByState = Mapping[ShardState, ShardFacts]


def is_waiting(found: Job, shards: ShardsByState) -> bool:
    """Whether no worker is on a job that is running by its state."""
    return found.state is JobState.RUNNING and not _held(shards)


def reason_of(
    found: Job,
    shards: ShardsByState,
    *,
    workers: Sequence[Worker],
    unfit: Collection[str],
    overdue: timedelta,
    before: JobState | None,
    failure: str | None,
    now: datetime,
) -> str:
    """The sentence; `before` is the state of the job it waits for, `failure` what the latest failure said.

    Of `workers` that were silent for longer than `overdue` nothing is said but that; those in `unfit` said
    that they cannot do the job.
    """
    if found.state in JOB_TERMINAL:
        return found.reason
    held = _held(shards)
    if found.cancel_requested_at is not None:
        return f"is being cancelled: {_stopping(held, shards)}"
    if found.state is JobState.BLOCKED:
        return f"waits for job {found.after_job_id} ({before or 'gone'})"
    if held:
        return f"{counted(held, 'shard')} running, {_waiting(shards)} waiting"
    if ShardState.LEASED in shards:
        return _worker_gone(found, workers)
    ready = shards.get(ShardState.READY)
    return _waits(found, ready, workers=workers, unfit=unfit, overdue=overdue, failure=failure, now=now)


def _stopping(held: int, shards: ShardsByState) -> str:
    if held or ShardState.LEASED not in shards:
        return f"waits for {counted(held, 'running shard')} to stop"
    return "its worker is gone; cancel it again, or start a worker"


def _worker_gone(found: Job, workers: Sequence[Worker]) -> str:
    """Leases are taken back by whichever worker looks first, and by nobody when there is none."""
    if workers:
        return "its worker is gone: about to be taken back"
    return (
        f"waits for {describe_need(found.device_kind, found.memory_bytes)}: its own is gone, none is running"
    )


def _waits(
    found: Job,
    ready: ShardFacts | None,
    *,
    workers: Sequence[Worker],
    unfit: Collection[str],
    overdue: timedelta,
    failure: str | None,
    now: datetime,
) -> str:
    if ready is None:
        return found.reason
    if ready.claimable == 0 and ready.next_at is not None:
        seconds = max(0, round((ready.next_at - now).total_seconds()))
        return f"tries again in {seconds} s after: {failure or 'a failure'}"
    fitting = [
        one for one in workers if fits(one, found.device_kind, found.memory_bytes) and one.id not in unfit
    ]
    placed = takers(found, fitting)
    need = describe_need(found.device_kind, found.memory_bytes, several=placed_together(found, placed))
    if not workers:
        return f"waits for {need}: no worker is running"
    if not fitting:
        too_few = counted(len(workers), "live worker does", "live workers do")
        return f"waits for {need}: {too_few} not fit"
    silence = min(now - one.seen_at for one in placed)
    if silence > overdue:
        return (
            f"waits for {need}: {_fitting(len(placed))} silent, no heartbeat for "
            f"{silence.total_seconds():.0f} s"
        )
    placed = [one for one in placed if now - one.seen_at <= overdue]
    if all(one.state == DRAINING for one in placed):
        return f"waits for {need}: {_fitting(len(placed))} ending"
    idle = sum(one.state == "idle" for one in placed)
    if not idle:
        return f"waits for {need}: {_fitting(len(placed))} busy"
    waited = now - ready.claimable_since if ready.claimable_since is not None else timedelta()
    if waited > SOON:
        since = f"for {waited.total_seconds():.0f} s"
        return f"waits for {need}: {since} although {_fitting(idle)} idle; see the workers' logs"
    return f"waits for {need}: about to be claimed"


def describe_need(device_kind: str, memory_bytes: int, *, several: bool = False) -> str:
    """`a worker`, or `a cuda worker with 20 GB that owns several devices`."""
    kind = "" if device_kind == "any" else f"{device_kind} "
    memory = f" with {memory_bytes / 1e9:.3g} GB" if memory_bytes else ""
    return f"a {kind}worker{memory}{' that owns several devices' if several else ''}"


def _held(shards: ShardsByState) -> int:
    """Shards that a worker holds."""
    leased = shards.get(ShardState.LEASED)
    return leased.count - leased.lapsed if leased else 0


def _waiting(shards: ShardsByState) -> int:
    lapsed = shards[ShardState.LEASED].lapsed if ShardState.LEASED in shards else 0
    return lapsed + (shards[ShardState.READY].count if ShardState.READY in shards else 0)


def _fitting(number: int) -> str:
    return counted(number, "worker that fits is", "workers that fit are")
