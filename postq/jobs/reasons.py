"""Why a job is in its state, said in one sentence from rows read a moment ago."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from postq.counted import counted
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


def reason_of(
    found: Job,
    shards: Mapping[ShardState, ShardFacts],
    *,
    workers: Sequence[Worker],
    before: JobState | None,
    failure: str | None,
    now: datetime,
) -> str:
    """The sentence; `before` is the state of the job it waits for, `failure` what the latest failure said."""
    if found.state in JOB_TERMINAL:
        return found.reason
    leased = shards[ShardState.LEASED].count if ShardState.LEASED in shards else 0
    if found.cancel_requested_at is not None:
        return f"is being cancelled: waits for {counted(leased, 'running shard')} to stop"
    if found.state is JobState.BLOCKED:
        return f"waits for job {found.after_job_id} ({before or 'gone'})"
    if leased:
        return f"{counted(leased, 'shard')} running, {_waiting(shards)} waiting"
    return _waits(found, shards.get(ShardState.READY), workers=workers, failure=failure, now=now)


def _waits(
    found: Job, ready: ShardFacts | None, *, workers: Sequence[Worker], failure: str | None, now: datetime
) -> str:
    if ready is None:
        return found.reason
    if ready.claimable == 0 and ready.next_at is not None:
        seconds = max(0, round((ready.next_at - now).total_seconds()))
        return f"tries again in {seconds} s after: {failure or 'a failure'}"
    need = describe_need(found.device_kind, found.memory_bytes)
    if not workers:
        return f"waits for {need}: no worker is running"
    fitting = [one for one in workers if fits(one, found.device_kind, found.memory_bytes)]
    if not fitting:
        unfit = counted(len(workers), "live worker does", "live workers do")
        return f"waits for {need}: {unfit} not fit"
    if all(one.state == "draining" for one in fitting):
        return f"waits for {need}: {_fitting(len(fitting))} ending"
    idle = sum(one.state == "idle" for one in fitting)
    if not idle:
        return f"waits for {need}: {_fitting(len(fitting))} busy"
    waited = now - ready.claimable_since if ready.claimable_since is not None else timedelta()
    if waited > SOON:
        since = f"for {waited.total_seconds():.0f} s"
        return f"waits for {need}: {since} although {_fitting(idle)} idle; see the workers' logs"
    return f"waits for {need}: about to be claimed"


def fits(one: Worker, device_kind: str, memory_bytes: int) -> bool:
    """Whether a job with these needs could run on this worker."""
    return device_kind in ("any", one.device_kind) and memory_bytes <= one.memory_bytes


def describe_need(device_kind: str, memory_bytes: int) -> str:
    """`a worker`, or `a cuda worker with 20 GB`."""
    kind = "" if device_kind == "any" else f"{device_kind} "
    memory = f" with {memory_bytes / 1e9:.3g} GB" if memory_bytes else ""
    return f"a {kind}worker{memory}"


def _waiting(shards: Mapping[ShardState, ShardFacts]) -> int:
    return shards[ShardState.READY].count if ShardState.READY in shards else 0


def _fitting(number: int) -> str:
    return counted(number, "worker that fits is", "workers that fit are")
