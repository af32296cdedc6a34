"""Who is alive: workers heard of lately, and jobs that have not ended."""

from typing import TYPE_CHECKING

from postq.cli.terminal import note

if TYPE_CHECKING:
    from postq.db import Database
    from postq.models import Worker
    from postq.settings import Settings


def living_workers(database: "Database", settings: "Settings") -> "list[Worker]":
    """Workers heard of lately, oldest first."""
    from postq.db import database_now
    from postq.jobs.workers import live_workers

    with database.reading() as session:
        return live_workers(session, now=database_now(session), settings=settings)


def unended_jobs(database: "Database") -> int:
    """How many jobs are blocked, ready or running."""
    import sqlalchemy as sa

    from postq.jobs.states import JOB_TERMINAL
    from postq.models.tables import job

    with database.reading() as session:
        query = sa.select(sa.func.count()).select_from(job).where(job.c.state.not_in(JOB_TERMINAL))
        return int(session.scalar(query) or 0)


def warn_if_nobody_works(database: "Database", settings: "Settings") -> None:
    """Say that jobs wait for a worker when there is none."""
    if not living_workers(database, settings):
        note("no worker is running: start one with `postq up`.")
