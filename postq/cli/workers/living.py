"""Who is alive: workers heard of lately, and jobs that have not ended."""

import os
import socket
from typing import TYPE_CHECKING

from postq.cli.printing.terminal import note
from postq.counted import counted

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


def unended_jobs(database: "Database") -> set[int]:
    """The numbers of jobs that are blocked, ready or running."""
    import sqlalchemy as sa

    from postq.jobs.states import JOB_TERMINAL
    from postq.models.tables import job

    with database.reading() as session:
        return set(session.scalars(sa.select(job.c.id).where(job.c.state.not_in(JOB_TERMINAL))))


def warn_of_neighbours(database: "Database", settings: "Settings") -> None:
    """Say that this machine has workers already: a second `postq up` shares its devices and adds none."""
    here = workers_here(database, settings)
    if here:
        already = counted(len(here), "worker of this machine serves", "workers of this machine serve")
        listed = ", ".join(f"{worker.device_kind}, process {worker.pid}" for worker in here)
        note(f"{already} this database already ({listed}); all share its devices and memory.")


def workers_here(database: "Database", settings: "Settings") -> "list[Worker]":
    """Living workers whose process runs on this machine."""
    here = socket.gethostname()
    living = living_workers(database, settings)
    return [worker for worker in living if worker.hostname == here and not is_gone(worker)]


def is_gone(worker: "Worker") -> bool:
    """Whether the worker ran on this machine and its process ended: killed, its row looks alive a while."""
    if worker.hostname != socket.gethostname():
        return False
    try:
        os.kill(worker.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # it is there, and another user's
        return False
    return False


def warn_if_nobody_fires(database: "Database", settings: "Settings") -> None:
    """Say that schedules stand still when there is no worker."""
    if not living_workers(database, settings):
        note("no worker is running, and only workers fire schedules: start one with `postq up`.")


def warn_if_nobody_works(database: "Database", settings: "Settings") -> None:
    """Say that jobs wait for a worker when there is none."""
    if not living_workers(database, settings):
        note("no worker is running: start one with `postq up`.")
