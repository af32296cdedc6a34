"""The engine against a model of it, on both databases: also jobs that wait for others, and relabelling."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from postq.contracts.specs import JobKind
from postq.db import Database
from postq.errors import Conflict
from postq.jobs.relabelling import WORKER as RELABELLER
from postq.jobs.states import JOB_SUCCEEDED, JOB_TERMINAL
from postq.learning.thresholds.decision import Decision
from postq.models.job import JobState
from postq.models.tables import job
from tests.integration.engine.machine import SOME, WORKERS, EngineMachine
from tests.integration.engine.relabelling import begun, one_more
from tests.integration.engine.world import AT_THRESHOLDS, hash_of

POSTURES, STRICTER = 1, 2
"""Two bundles of one model that differ by their thresholds and rules."""
RULED = Decision(thresholds=(0.6, 0.6, 0.6), implies=((0, 1),), outranks=((2, 0),))
MOST_JOBS = 10


class WholeEngineMachine(EngineMachine):
    """The model also knows which jobs have ended once, and which shards a relabelling holds."""

    def __init__(self, database: Database, home: Path) -> None:
        super().__init__(database, home)
        self.ended: set[int] = set()
        """Jobs that were terminal at some time: what waited for their end may run."""
        self.relabellings: dict[int, tuple[int, int]] = {}
        """Job → its source and the bundle it is labelled by."""
        self.copying: dict[int, list[int]] = {}
        """Job → shards a relabelling took and has not labelled, in the order of their rows."""

    @initialize()
    def add_corpora_and_bundle(self) -> None:
        super().add_corpora_and_bundle()
        stricter, model = hash_of("fingerprint w1 stricter"), hash_of("fingerprint w1")
        assert self.world.add_bundle("stricter", weights="w1 stricter") == STRICTER
        self.world.same_weights[stricter] = model
        self.world.decisions[stricter] = RULED
        self.jobs.append(self.world.classify(1))  # done, so that there is one to relabel and to follow
        self.world.work_off()

    @precondition(lambda self: len(self.jobs) < MOST_JOBS)
    @rule(corpus=st.sampled_from([1, 2]))
    def classify_by_the_stricter_bundle(self, corpus: int) -> None:
        self.jobs.append(self.world.classify(corpus, "stricter"))

    @precondition(lambda self: self.jobs and len(self.jobs) < MOST_JOBS)
    @rule(some=SOME, whatever=st.booleans(), only_new=st.booleans())
    def submit_after_another(self, *, some: int, whatever: bool, only_new: bool) -> None:
        before = self.jobs[some % len(self.jobs)]
        state = self.world.state(before)
        refused = state in JOB_TERMINAL - JOB_SUCCEEDED and not whatever
        try:
            job_id = self.world.classify(2, only_new=only_new, after_job_id=before, after_any=whatever)
        except Conflict:
            assert refused
            return
        assert not refused
        assert (self.world.state(job_id) is JobState.BLOCKED) == (state not in JOB_TERMINAL)
        self.jobs.append(job_id)

    @rule(worker=WORKERS)
    def claim(self, worker: str) -> None:
        claimed = len(self.leases)
        super().claim(worker)
        for lease in self.leases[claimed:]:
            before = self.world.job(lease.job_id).after_job_id
            assert before is None or before in self.ended, "a job began before the one it waits for had ended"

    @rule()
    def work_off_what_is_ready(self) -> None:
        """So that more jobs succeed."""
        self.world.work_off()

    @precondition(lambda self: self.jobs and len(self.jobs) < MOST_JOBS)
    @rule(some=SOME)
    def begin_relabelling(self, some: int) -> None:
        source = self.world.job(
            self.likely(self.jobs, some, lambda one: self.world.state(one) in JOB_SUCCEEDED)
        )
        if source.kind is not JobKind.CLASSIFY or source.bundle_id not in (POSTURES, STRICTER):
            return
        assert source.id is not None
        target = STRICTER if source.bundle_id == POSTURES else POSTURES
        try:
            made = begun(self.world, source.id, target)
        except Conflict:
            assert source.state not in JOB_SUCCEEDED
            return
        assert source.state in JOB_SUCCEEDED
        if made.created:
            self._take_over(made.job_id, source.id, target)

    def _take_over(self, job_id: int, source: int, target: int) -> None:
        self.jobs.append(job_id)
        self.relabellings[job_id] = (source, target)
        taken = sorted(self.world.shards(job_id), key=lambda one: one.start_row)
        self.copying[job_id] = [one.id for one in taken if one.id is not None]
        for one in taken:
            assert (one.owner, one.token) == (RELABELLER, 1)
            assert one.id is not None
            self.held[one.id] = (1, self.world.now + timedelta(seconds=self.world.settings.lease_seconds))

    @precondition(lambda self: self.relabellings)
    @rule(some=SOME)
    def relabel_one_more_shard(self, some: int) -> None:
        job_id = self.likely(sorted(self.relabellings), some, self.left_to_label)
        source, target = self.relabellings[job_id]
        left = self.left_to_label(job_id)
        decision = RULED if target == STRICTER else AT_THRESHOLDS
        assert one_more(self.world, job_id, source, target, decision) == bool(left)
        if not left:
            return
        del self.held[left[0]]
        self.copying[job_id] = left[1:]
        for one in left[1:]:
            self.held[one] = (1, self.world.now + timedelta(seconds=self.world.settings.lease_seconds))

    def left_to_label(self, job_id: int) -> list[int]:
        """Shards a relabelling still holds, in the order of their rows."""
        return [one for one in self.copying[job_id] if self.held.get(one, (0,))[0] == 1]

    def likely(self, jobs: list[int], some: int, good: Callable[[int], object]) -> int:
        """Mostly a job that is good, now and then any."""
        wanted = [one for one in jobs if good(one)] if some % 5 else []
        chosen = wanted or jobs
        return chosen[some % len(chosen)]

    @invariant()
    def what_has_ended_blocks_nobody(self) -> None:
        with self.world.database.reading() as session:
            rows = session.execute(sa.select(job.c.id, job.c.state, job.c.after_job_id)).all()
        over = {row.id for row in rows if row.state in JOB_TERMINAL}
        waiting = [row.id for row in rows if row.state is JobState.BLOCKED and row.after_job_id in over]
        assert waiting == []
        self.ended |= over


@pytest.mark.slow
def test_whatever_happens_the_promises_hold(shared_database: Database, tmp_path: Path) -> None:
    examples = 20 if shared_database.is_sqlite else 6
    run_machine(
        lambda: WholeEngineMachine(shared_database, tmp_path),
        settings=settings(
            max_examples=examples,
            stateful_step_count=35,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
            database=None,
        ),
    )
