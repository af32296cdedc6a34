"""The invariants, checked from the database after every fault: nothing lost, doubled, fenced-out or orphaned.

I1 every document predicted, quarantined or skipped exactly once per job
I2 the result's digest equals that of a fault-free run
I3 no write carries an older token than its row
I4 every job is terminal
I5 events are a legal path of the state machines
I6 no orphan process
"""

import hashlib
import itertools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from postq.jobs.states import JOB_EDGES, JOB_TERMINAL, SHARD_EDGES
from postq.models.attempt import AttemptOutcome
from postq.models.job import JobState
from postq.models.shard import ShardState
from postq.models.tables import (
    attempt,
    bundle,
    corpus,
    event,
    prediction,
    prediction_label,
    quarantine,
    shard,
)
from tests.faults.ground import Ground, runners_of
from tests.waiting import wait_until


@dataclass(frozen=True, kw_only=True)
class Account:
    """Jepsen's total-queue count of one classification."""

    lost: int
    duplicated: int
    unexpected: int
    recovered: int
    """Documents whose first attempt did not commit but that were done in the end."""


def check_invariants(ground: Ground, *job_ids: int, digest: str | None = None) -> None:
    """Assert I1 to I5 for the jobs (I2 where a fault-free digest is given)."""
    for job_id in job_ids:
        check_terminal(ground, job_id)
        if owes_every_document(ground, job_id):
            check_coverage(ground, job_id)
        check_tokens(ground, job_id)
        check_paths(ground, job_id)
        check_attempts(ground, job_id)
        if digest is not None:
            assert result_digest(ground, job_id) == digest, "I2: the result is not that of a fault-free run"


def owes_every_document(ground: Ground, job_id: int) -> bool:
    """True for a classification, unless it was cancelled or what it waited for failed before it began."""
    row = ground.job(job_id)
    never_began = row.state is JobState.FAILED and row.after_job_id is not None and row.started_at is None
    return row.kind == "classify" and row.state is not JobState.CANCELLED and not never_began


def account(ground: Ground, job_id: int) -> Account:
    """Count what happened to the documents of a classification."""
    row = ground.job(job_id)
    total = ground.one(sa.select(corpus.c.documents).where(corpus.c.id == row.corpus_id))[0]
    predicted = Counter(_rows(ground, prediction, job_id))
    quarantined = Counter(_rows(ground, quarantine, job_id))
    dealt_with = predicted + quarantined
    lost = total - row.documents_skipped - len(dealt_with)
    return Account(
        lost=lost,
        duplicated=sum(count - 1 for count in dealt_with.values()),
        unexpected=sum(not 0 <= number < total for number in dealt_with),
        recovered=_recovered(ground, job_id),
    )


def check_coverage(ground: Ground, job_id: int) -> None:
    """I1, and that the job's counters say the same."""
    counted = account(ground, job_id)
    assert (counted.lost, counted.duplicated, counted.unexpected) == (0, 0, 0), f"I1: {counted}"
    row = ground.job(job_id)
    assert row.documents_predicted == len(_rows(ground, prediction, job_id)), "I1: counter of predictions"
    assert row.documents_quarantined == len(_rows(ground, quarantine, job_id)), "I1: counter of quarantine"
    parts = row.documents_predicted + row.documents_quarantined + row.documents_skipped
    assert parts == row.documents_total, "I1: the counters do not add up"


def check_terminal(ground: Ground, job_id: int) -> None:
    """I4, and that a job that ended left no shard open and says why it ended."""
    row = ground.job(job_id)
    assert row.state in JOB_TERMINAL, f"I4: job {job_id} is {row.state}: {row.reason}"
    assert row.reason, "I4: a state without a reason"
    open_shards = [
        one.id for one in ground.shards(job_id) if one.state in (ShardState.READY, ShardState.LEASED)
    ]
    assert not open_shards, f"I4: job {job_id} has ended with open shards {open_shards}"


def check_tokens(ground: Ground, job_id: int) -> None:
    """I3: predictions belong to the attempt that won, and the history never goes back to an older token."""
    won = ground.all(
        sa.select(attempt.c.id, attempt.c.token, shard.c.token.label("row_token"), attempt.c.shard_id)
        .join(shard, shard.c.id == attempt.c.shard_id)
        .where(attempt.c.job_id == job_id, attempt.c.outcome == AttemptOutcome.COMMITTED)
    )
    assert all(one.token == one.row_token for one in won), "I3: a commit under an older token"
    winners = {one.id for one in won}
    writers = {row[0] for row in ground.all(_distinct_attempts(prediction, job_id))}
    assert writers <= winners, "I3: predictions of an attempt that did not commit"
    history = ground.all(
        sa.select(event.c.shard_id, event.c.token)
        .where(event.c.job_id == job_id, event.c.token.is_not(None))
        .order_by(event.c.id)
    )
    newest: dict[int, int] = {}
    for line in history:
        assert line.token >= newest.get(line.shard_id, 0), f"I3: shard {line.shard_id} went back in time"
        newest[line.shard_id] = line.token


def check_paths(ground: Ground, job_id: int) -> None:
    """I5: each row's events are edges of the table, each beginning where the one before ended."""
    lines = ground.all(
        sa.select(event)
        .where(event.c.job_id == job_id, event.c.type.in_(("job.state", "shard.state")))
        .order_by(event.c.id)
    )
    by_row: dict[tuple[str, int | None], list[tuple[str, str]]] = {}
    for line in lines:
        if line.from_state is not None:
            by_row.setdefault((line.type, line.shard_id), []).append((line.from_state, line.to_state))
    for (kind, shard_id), steps in by_row.items():
        edges = {(str(a.value), str(b.value)) for a, b in (JOB_EDGES if kind == "job.state" else SHARD_EDGES)}
        assert set(steps) <= edges, f"I5: {kind} {shard_id}: {set(steps) - edges}"
        for before, after in itertools.pairwise(steps):
            assert before[1] == after[0], f"I5: {kind} {shard_id}: {before} then {after}"


def check_attempts(ground: Ground, job_id: int) -> None:
    """A shard that is done by a commit has exactly one attempt that committed; none is left running."""
    outcomes = ground.all(sa.select(attempt.c.shard_id, attempt.c.outcome).where(attempt.c.job_id == job_id))
    commits = Counter(one.shard_id for one in outcomes if one.outcome == AttemptOutcome.COMMITTED)
    assert all(count == 1 for count in commits.values()), f"a shard was committed twice: {commits}"
    running = [one.shard_id for one in outcomes if one.outcome == AttemptOutcome.RUNNING]
    assert not running, f"attempts of shards {running} never ended"


def check_no_orphans(home: Path, *, within: float = 5.0) -> None:
    """I6: once the workers are gone no runner of theirs is left."""
    wait_until(lambda: not runners_of(home), within, saying="I6: every runner to be gone")


def result_digest(ground: Ground, job_id: int) -> str:
    """SHA-256 over what a classification found, in row order: scores, labels, and who was set apart."""
    digest = hashlib.sha256()
    for row in ground.all(
        sa.select(prediction.c.row, prediction.c.content_hash, prediction.c.scores, prediction.c.label_count)
        .where(prediction.c.job_id == job_id)
        .order_by(prediction.c.row)
    ):
        digest.update(repr(tuple(row)).encode())
    for row in ground.all(
        sa.select(prediction_label.c.row, prediction_label.c.label)
        .where(prediction_label.c.job_id == job_id)
        .order_by(prediction_label.c.row, prediction_label.c.label)
    ):
        digest.update(repr(tuple(row)).encode())
    digest.update(repr(sorted(_rows(ground, quarantine, job_id))).encode())
    return digest.hexdigest()


def bundle_digest(ground: Ground, job_id: int) -> str:
    """The digest over all files of the bundle that a training made."""
    return str(ground.one(sa.select(bundle.c.digest).where(bundle.c.id == ground.job(job_id).bundle_id))[0])


def _rows(ground: Ground, table: sa.Table, job_id: int) -> list[int]:
    return [row[0] for row in ground.all(sa.select(table.c.row).where(table.c.job_id == job_id))]


def _distinct_attempts(table: sa.Table, job_id: int) -> sa.Select[tuple[int]]:
    return sa.select(table.c.attempt_id).where(table.c.job_id == job_id).distinct()


def _recovered(ground: Ground, job_id: int) -> int:
    tried_again = (
        sa.select(attempt.c.shard_id)
        .where(attempt.c.job_id == job_id)
        .group_by(attempt.c.shard_id)
        .having(sa.func.count() > 1)
    )
    query = sa.select(shard.c.documents_predicted).where(
        shard.c.id.in_(tried_again), shard.c.state == ShardState.DONE
    )
    return sum(row[0] for row in ground.all(query))
