"""Proving a job's promises from its rows: coverage, fences, one fingerprint, a legal history, its digest."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.contracts.specs import JobKind
from postq.counted import counted
from postq.errors import NotFound
from postq.jobs.states import JOB_EDGES, JOB_SUCCEEDED, SHARD_EDGES
from postq.models.attempt import AttemptOutcome
from postq.models.event import Event
from postq.models.job import Job, JobState
from postq.models.shard import ShardState
from postq.models.tables import attempt, document, event, prediction, quarantine, shard
from postq.predictions.digest import result_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What was found; no problems means that every promise holds for this job."""

    job_id: int
    kind: JobKind
    state: JobState
    coverage_checked: bool
    """False until a classification has succeeded: before, documents are rightly missing."""
    problems: tuple[str, ...]
    documents: int
    predicted: int
    quarantined: int
    skipped: int
    digest: str | None
    """Result digest of a classification: equal to that of a run without any fault."""


def verify_job(session: Session, job_id: int) -> Verification:
    """Check everything the database can say about the job. Raises NotFound."""
    found = session.get(Job, job_id, populate_existing=True)
    if found is None:
        raise NotFound(f"There is no job {job_id}.", hint="See all jobs with: postq status.")
    classifies = found.kind is JobKind.CLASSIFY
    complete = classifies and found.state in JOB_SUCCEEDED
    problems = [*_history(session, found), *_fences(session, found), *_contents(session, found)]
    if complete:
        problems += _coverage(session, found)
    return Verification(
        job_id=job_id,
        kind=found.kind,
        coverage_checked=complete,
        state=found.state,
        problems=tuple(problems),
        documents=found.documents_total,
        predicted=found.documents_predicted,
        quarantined=found.documents_quarantined,
        skipped=found.documents_skipped,
        digest=result_digest(session, job_id) if classifies else None,
    )


def _coverage(session: Session, found: Job) -> Iterator[str]:
    """Every document predicted, quarantined or skipped, exactly once."""
    predicted, quarantined = (_count(session, table, found) for table in (prediction, quarantine))
    said = (found.documents_predicted, found.documents_quarantined)
    if (predicted, quarantined) != said:
        stored = f"{counted(predicted, 'prediction')} and {counted(quarantined, 'quarantined document')}"
        yield f"{stored} are stored, {said[0]:,} and {said[1]:,} were counted"
    total = predicted + quarantined + found.documents_skipped
    if total != found.documents_total:
        yield f"of {counted(found.documents_total, 'document')} the job accounts for {total:,}"
    if not found.spec.get("only_new") and found.documents_skipped:
        skipped = counted(found.documents_skipped, "document was", "documents were")
        yield f"{skipped} skipped, though all were asked for"
    both = sa.select(sa.func.count()).select_from(
        sa.join(
            prediction,
            quarantine,
            (prediction.c.job_id == quarantine.c.job_id) & (prediction.c.row == quarantine.c.row),
        )
    )
    if twice := session.execute(both.where(prediction.c.job_id == found.id)).scalar_one():
        yield f"{counted(twice, 'document is', 'documents are')} both predicted and quarantined"
    yield from _ranges(session, found)


def _ranges(session: Session, found: Job) -> Iterator[str]:
    """Done shards never overlap, and split ones are replaced by children that cover them."""
    rows = session.execute(
        sa.select(shard.c.id, shard.c.start_row, shard.c.stop_row)
        .where(shard.c.job_id == found.id, shard.c.state != ShardState.SPLIT)
        .order_by(shard.c.start_row)
    ).all()
    for left, right in pairwise(rows):
        if right.start_row < left.stop_row:
            yield f"shards {left.id} and {right.id} overlap"


def _fences(session: Session, found: Job) -> Iterator[str]:
    """Every stored row comes from the attempt that held the shard when it ended, under the job's bundle."""
    for table, allowed in (
        (prediction, (AttemptOutcome.COMMITTED,)),
        (quarantine, (AttemptOutcome.COMMITTED, AttemptOutcome.FAILED, AttemptOutcome.LOST)),
    ):
        wrong = (
            sa.select(sa.func.count())
            .select_from(table)
            .join(attempt, attempt.c.id == table.c.attempt_id, isouter=True)
            .join(shard, shard.c.id == attempt.c.shard_id, isouter=True)
            .where(
                table.c.job_id == found.id,
                sa.or_(
                    shard.c.id.is_(None),
                    attempt.c.job_id != table.c.job_id,
                    attempt.c.outcome.not_in(allowed),
                    attempt.c.token != shard.c.token,
                    shard.c.state != ShardState.DONE,
                    table.c.row < shard.c.start_row,
                    table.c.row >= shard.c.stop_row,
                ),
            )
        )
        if count := session.execute(wrong).scalar_one():
            yield f"{counted(count, 'row')} of {table.name} got past the fence"
    mixed = sa.select(sa.func.count()).where(
        prediction.c.job_id == found.id,
        sa.or_(prediction.c.fingerprint != found.fingerprint, prediction.c.bundle_id != found.bundle_id),
    )
    if count := session.execute(mixed).scalar_one():
        carry = counted(count, "prediction carries", "predictions carry")
        yield f"{carry} another fingerprint or bundle than the job"


def _contents(session: Session, found: Job) -> Iterator[str]:
    """Every prediction is of a document of the corpus, as it reads there."""
    here = (document.c.corpus_id == found.corpus_id) & (document.c.row == prediction.c.row)
    wrong = (
        sa.select(sa.func.count())
        .select_from(prediction)
        .join(document, here, isouter=True)
        .where(
            prediction.c.job_id == found.id,
            sa.or_(document.c.row.is_(None), document.c.content_hash != prediction.c.content_hash),
        )
    )
    if count := session.execute(wrong).scalar_one():
        yield f"{counted(count, 'prediction is', 'predictions are')} of other text than the corpus holds"


def _history(session: Session, found: Job) -> Iterator[str]:
    """The events of the job and of each shard are a legal path that ends in the present state."""
    lines = session.scalars(sa.select(Event).where(event.c.job_id == found.id).order_by(event.c.id)).all()
    own = [line for line in lines if line.type == "job.state"]
    yield from _path(f"job {found.id}", own, JOB_EDGES, first=None, last=found.state)
    by_shard: dict[int, list[Event]] = defaultdict(list)
    for line in lines:
        if line.type == "shard.state" and line.shard_id is not None:
            by_shard[line.shard_id].append(line)
    for one in session.execute(sa.select(shard.c.id, shard.c.state).where(shard.c.job_id == found.id)):
        path = by_shard.get(one.id, [])
        yield from _path(f"shard {one.id}", path, SHARD_EDGES, first=ShardState.READY, last=one.state)
        tokens = [line.token for line in path if line.token is not None]
        if tokens != sorted(tokens):
            yield f"shard {one.id}: an older token wrote after a newer one: {tokens}"


def _path(
    what: str,
    lines: Sequence[Event],
    edges: Mapping[Any, str],
    *,
    first: StrEnum | None,
    last: StrEnum,
) -> Iterator[str]:
    here = first.value if first is not None else None
    legal = {(source.value, target.value) for source, target in edges}
    for line in lines:
        if line.from_state != here:
            yield f"{what}: event {line.id} leaves {line.from_state}, but the state was {here}"
        if line.from_state is not None and (line.from_state, line.to_state) not in legal:
            yield f"{what}: event {line.id} takes no legal edge: {line.from_state} to {line.to_state}"
        here = line.to_state
    if here != last.value:
        yield f"{what}: its history ends in {here}, its row says {last}"


def _count(session: Session, table: sa.Table, found: Job) -> int:
    return session.execute(sa.select(sa.func.count()).where(table.c.job_id == found.id)).scalar_one()
