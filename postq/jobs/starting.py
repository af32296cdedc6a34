"""Starting a ready job: its shards are laid, or it ends at once because nothing is to be done."""

from datetime import datetime

from sqlalchemy.orm import Session

from postq.counted import counted
from postq.jobs.events import EventLine, write_event
from postq.jobs.planning import Plan, lay_shards
from postq.jobs.states import move_jobs
from postq.models.job import JobState
from postq.models.tables import job


def start_plan(session: Session, job_id: int, plan: Plan, *, now: datetime) -> None:
    """Lay the shards of a job that is ready, or end it at once when its plan is empty."""
    lay_shards(session, job_id, plan, now=now)
    if not plan.ranges:
        move_jobs(
            session,
            job.c.id == job_id,
            source=JobState.READY,
            target=JobState.SUCCEEDED,
            now=now,
            reason=plan.reason,
        )
        return
    message = (
        f"{counted(len(plan.ranges), 'shard')} over {counted(plan.documents, 'document')}, "
        f"{plan.skipped:,} skipped"
    )
    data = {"shards": len(plan.ranges), "documents": plan.documents, "skipped": plan.skipped}
    write_event(session, EventLine(job_id=job_id, type="job.planned", message=message, data=data), now=now)
