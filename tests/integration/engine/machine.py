"""The engine beside a model of it: random claims, renewals, commits, failures, cancels and passing time."""

from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path

import hypothesis.strategies as st
import sqlalchemy as sa
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from postq.contracts.failure import FailureClass
from postq.db import Database
from postq.errors import Conflict
from postq.jobs.cancel import cancel
from postq.jobs.leases import Lease, register_checkpoint, release, renew
from postq.jobs.retries import Action
from postq.jobs.retry import retry_job
from postq.jobs.states import JOB_SUCCEEDED, JOB_TERMINAL
from postq.models.job import JobState
from postq.models.tables import job, shard
from tests.integration.engine.conftest import small_settings
from tests.integration.engine.emptying import empty
from tests.integration.engine.world import World

WORKERS = st.sampled_from(["w1", "w2", "w3"])
SOME = st.integers(min_value=0, max_value=10_000)


class EngineMachine(RuleBasedStateMachine):
    """The model knows one thing well: which lease is held, that is, whose writes must count."""

    def __init__(self, database: Database, home: Path) -> None:
        super().__init__()
        empty(database)
        self.world = World(database, small_settings(database, home))
        self.leases: list[Lease] = []
        self.held: dict[int, tuple[int, datetime]] = {}
        """Shard → (token, lease_until) of leases that are held."""
        self.jobs: list[int] = []
        self.committed: set[int] = set()

    def is_held(self, lease: Lease) -> bool:
        return lease.shard_id in self.held and self.held[lease.shard_id][0] == lease.token

    def pick(self, some: int) -> Lease:
        return self.leases[some % len(self.leases)]

    @initialize()
    def add_corpora_and_bundle(self) -> None:
        self.world.add_corpus(9)
        self.world.add_corpus(5, name="repeats", texts=lambda row: f"text {row % 2}")
        self.world.add_bundle()

    @precondition(lambda self: len(self.jobs) < 6)
    @rule(corpus=st.sampled_from([1, 2]), only_new=st.booleans(), priority=st.sampled_from([1, 100]))
    def submit_classification(self, *, corpus: int, only_new: bool, priority: int) -> None:
        self.jobs.append(self.world.classify(corpus, only_new=only_new, priority=priority))

    @precondition(lambda self: len(self.jobs) < 6)
    @rule()
    def submit_chain(self) -> None:
        training = self.world.train(1, "chained")
        self.jobs += [training, self.world.classify(2, f"job:{training}")]

    @rule(worker=WORKERS)
    def claim(self, worker: str) -> None:
        lease = self.world.claim(worker)
        if lease is None:
            return
        assert lease.shard_id not in self.held
        assert all(old.token < lease.token for old in self.leases if old.shard_id == lease.shard_id)
        self.leases.append(lease)
        self.held[lease.shard_id] = (lease.token, lease.lease_until)

    @precondition(lambda self: self.leases)
    @rule(some=SOME)
    def renew(self, some: int) -> None:
        lease = self.pick(some)
        with self.world.session() as session:
            answer = renew(session, lease, now=self.world.now, lease_seconds=60)
        assert answer.held == self.is_held(lease)
        if answer.held:
            self.held[lease.shard_id] = (lease.token, self.world.now + timedelta(seconds=60))

    @precondition(lambda self: self.leases)
    @rule(some=SOME, quarantine=st.booleans())
    def commit(self, *, some: int, quarantine: bool) -> None:
        lease = self.pick(some)
        failing = {lease.start_row: "ValueError: unreadable"} if quarantine else {}
        counts = self.is_held(lease) or lease.attempt_id in self.committed
        assert self.world.commit(lease, failing=failing) == counts
        if counts:
            self.committed.add(lease.attempt_id)
        self.let_go(lease)

    @precondition(lambda self: self.leases)
    @rule(some=SOME, failure=st.sampled_from(list(FailureClass)))
    def fail(self, some: int, failure: FailureClass) -> None:
        lease = self.pick(some)
        outcome = self.world.fail(lease, failure)
        assert (outcome.action is not Action.FENCED) == self.is_held(lease)
        self.let_go(lease)

    @precondition(lambda self: self.leases)
    @rule(some=SOME)
    def release(self, some: int) -> None:
        lease = self.pick(some)
        with self.world.session() as session:
            counted = release(session, lease, now=self.world.now, settings=self.world.settings)
        assert counted == self.is_held(lease)
        self.let_go(lease)

    @precondition(lambda self: self.leases)
    @rule(some=SOME, step=st.integers(1, 9))
    def checkpoint(self, some: int, step: int) -> None:
        lease = self.pick(some)
        with self.world.session() as session:
            counted = register_checkpoint(session, lease, f"checkpoints/{step}", step, self.world.now)
        assert counted == self.is_held(lease)

    @rule(seconds=st.sampled_from([1, 30, 61, 600]))
    def pass_time(self, seconds: int) -> None:
        self.world.later(seconds)

    @rule()
    def maintain(self) -> None:
        self.world.maintain()
        self.drop_expired()

    @precondition(lambda self: self.jobs)
    @rule(some=SOME)
    def cancel(self, some: int) -> None:
        job_id = self.jobs[some % len(self.jobs)]
        ended = self.world.state(job_id) in JOB_TERMINAL - {JobState.CANCELLED}
        try:
            with self.world.session() as session:
                cancel(session, job_id, now=self.world.now, settings=self.world.settings)
            assert not ended
            self.drop_expired({one.id for one in self.world.shards(job_id)})
        except Conflict:
            assert ended

    @precondition(lambda self: self.jobs)
    @rule(some=SOME)
    def retry(self, some: int) -> None:
        job_id = self.jobs[some % len(self.jobs)]
        before = self.world.state(job_id)
        try:
            with self.world.session() as session:
                after = retry_job(session, job_id, now=self.world.now, settings=self.world.settings)
            assert before in (JobState.FAILED, JobState.CANCELLED)
            assert after not in (JobState.FAILED, JobState.CANCELLED)
        except Conflict:
            assert self.world.state(job_id) is before

    @invariant()
    def leased_rows_are_those_the_model_holds(self) -> None:
        with self.world.database.reading() as session:
            query = sa.select(shard.c.id, shard.c.token).where(shard.c.state == "leased")
            leased = {row.id: row.token for row in session.execute(query)}
        assert leased == {shard_id: token for shard_id, (token, _) in self.held.items()}

    def let_go(self, lease: Lease) -> None:
        if self.is_held(lease):
            del self.held[lease.shard_id]

    def drop_expired(self, among: Collection[int] | None = None) -> None:
        """Leases that ran out, of these shards or of all, are taken back."""
        for shard_id, (_, until) in list(self.held.items()):
            if until < self.world.now and (among is None or shard_id in among):
                del self.held[shard_id]

    def teardown(self) -> None:
        if not self.jobs:
            return
        self.world.verify_all()
        self.finish_everything()
        self.world.verify_all()
        self.check_results()

    def finish_everything(self) -> None:
        """Given honest workers and time, every job ends, within a bound."""
        for _ in range(100):
            self.world.later(700)
            self.world.maintain()
            self.world.work_off()
            with self.world.database.reading() as session:
                states = set(session.scalars(sa.select(job.c.state)))
            if states <= JOB_TERMINAL:
                return
        raise AssertionError("a job neither ends nor moves")

    def check_results(self) -> None:
        """Whatever happened on the way, complete runs over the same documents give the same result."""
        digests: dict[tuple[int, int | None], set[str | None]] = {}
        for job_id in self.jobs:
            found = self.world.job(job_id)
            complete = found.documents_predicted == found.documents_total
            if found.kind == "classify" and found.state in JOB_SUCCEEDED and complete:
                key = (found.corpus_id, found.bundle_id)
                digests.setdefault(key, set()).add(self.world.verify(job_id).digest)
        assert all(len(different) == 1 for different in digests.values())
