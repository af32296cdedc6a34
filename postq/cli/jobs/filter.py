"""Which jobs a user wants to see, and asking the engine for them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from postq.cli.invocation import Invocation
    from postq.jobs.views import JobView


@dataclass(frozen=True, kw_only=True)
class JobFilter:
    """One job by its number, or the newest jobs of some states and kind."""

    job: int | None = None
    states: tuple[str, ...] = ()
    kind: str | None = None
    limit: int = 20

    def ask(self, invocation: "Invocation") -> "list[JobView]":
        """The jobs as they stand now, newest first. Raises NotFound for an unknown number."""
        from postq.contracts.specs import JobKind
        from postq.db import database_now
        from postq.jobs.queries import job_view, list_jobs
        from postq.models import JobState

        settings = invocation.settings
        with invocation.database.reading() as session:
            now = database_now(session)
            if self.job is not None:
                return [job_view(session, self.job, now=now, settings=settings)]
            return list_jobs(
                session,
                now=now,
                settings=settings,
                states=[JobState(state) for state in self.states] or None,
                kind=JobKind(self.kind) if self.kind else None,
                limit=self.limit,
            )
