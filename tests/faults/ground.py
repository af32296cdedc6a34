"""A ground to break things on: one home, one database, real worker processes, and what to wait for."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import sqlalchemy as sa

from postq.contracts.specs import ClassifySpec, EvaluateSpec, JobSpec, TrainSpec
from postq.crash_points import CrashPoint
from postq.db import Database, database_now, open_database
from postq.jobs.states import JOB_TERMINAL
from postq.jobs.submit import submit
from postq.models.job import JobState
from postq.models.tables import job, shard
from postq.nudges import nudge
from postq.settings import Settings, load_settings
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
POISON = Path(__file__).parent / "poison"
"""Put on a runner's PYTHONPATH it makes documents that say so raise, hang, crash or eat memory."""

QUICK: dict[str, str] = {
    "POSTQ_LEASE_SECONDS": "3",
    "POSTQ_RENEW_SECONDS": "0.5",
    "POSTQ_POLL_SECONDS": "0.1",
    "POSTQ_RECONCILE_SECONDS": "0.3",
    "POSTQ_STALL_SECONDS": "60",
    "POSTQ_DRAIN_SECONDS": "10",
    "POSTQ_BACKOFF_SECONDS": "0.1",
    "POSTQ_SHARD_DOCUMENTS": "10",
    "POSTQ_CPU_THREADS": "1",
    "POSTQ_LOG_FORMAT": "json",
}
"""Every wait short, so that a test of recovery takes seconds."""

PATIENT = {"POSTQ_LEASE_SECONDS": "60"}
"""For a worker whose leases must not run out: on a busy machine it may not get to renew one for seconds."""
SPAWNED = "multiprocessing"
"""Is in the command line of whatever a runner starts: ranks, processes that tokenise, and their tracker."""


def lives(process: psutil.Process) -> bool:
    """Whether a process is there and not merely waiting to be reaped."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class WorkerHandle:
    """One worker process under test and the runner below it."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path) -> None:
        self.process = process
        self.log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    def alive(self) -> bool:
        return self.process.poll() is None

    def runners(self) -> list[psutil.Process]:
        """The live runner processes of this worker; empty once it is gone."""
        try:
            children = psutil.Process(self.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        return [child for child in children if lives(child)]

    def runner(self) -> psutil.Process:
        """The one runner, waited for."""
        return wait_until(lambda: next(iter(self.runners()), None), 30, saying="a runner to be started")  # type: ignore[return-value]

    def wake_runner(self) -> psutil.Process:
        """Let the runner go on once it stands still: word of a crash point is left before the signal acts."""
        runner = self.runner()
        wait_until(lambda: is_stopped(runner.pid), 30, saying="the runner to stand still")
        runner.resume()
        return runner

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill the worker alone; its runner has to notice by itself."""
        self.process.kill()
        self.process.wait(timeout=30)

    def drain(self, timeout: float = 60) -> int:
        """SIGTERM, then the exit code."""
        if self.alive():
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        return self.process.wait(timeout=timeout)

    def lines(self) -> list[dict[str, Any]]:
        """What it logged, one record a line; a line still being written is left out."""
        texts = self.log.read_text(errors="replace").split("\n")[:-1]
        return [json.loads(text) for text in texts if text.startswith("{")]

    def said(self, words: str) -> bool:
        return words in self.log.read_text(errors="replace")


class Ground:
    """Where a test submits jobs, starts workers and breaks them."""

    def __init__(
        self,
        scratch: Path,
        *,
        home: Path,
        database_url: str,
        broker_url: str = "memory://",
        nudging: bool = False,
    ) -> None:
        self.scratch = scratch
        self.home = home
        self.database_url = database_url
        self.broker_url = broker_url
        self.nudging = nudging
        """Whether a submit nudges, as the command line's does."""
        self.settings: Settings = load_settings(
            home=home,
            database_url=database_url,
            broker_url=broker_url,
            lease_seconds=3.0,
            renew_seconds=0.5,
            reconcile_seconds=0.3,
            shard_documents=10,
            backoff_seconds=0.1,
        )
        self.database: Database = open_database(self.settings)
        self.workers: list[WorkerHandle] = []

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a worker under test."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("POSTQ_")}
        return {
            **clean,
            **QUICK,
            "POSTQ_HOME": str(self.home),
            "POSTQ_DATABASE_URL": self.database_url,
            "POSTQ_BROKER_URL": self.broker_url,
            "POSTQ_CONFIG": os.devnull,
            "PYTHONPATH": os.pathsep.join([str(POISON), str(ROOT)]),
            **more,
        }

    def at(self, point: CrashPoint, *, nth: int = 1, signal: str = "KILL") -> dict[str, str]:
        """Variables that kill (or STOP) the first process that reaches the point for the nth time."""
        return {
            "POSTQ_CRASH_AT": f"{point}:{nth}",
            "POSTQ_CRASH_ONCE": str(self.scratch / "reached"),
            "POSTQ_CRASH_SIGNAL": signal,
        }

    def wait_until_reached(self, *, timeout: float = 60) -> None:
        """Wait until some process reached the crash point of this test."""
        wait_until((self.scratch / "reached").exists, timeout, saying="the crash point to be reached")

    def start_worker(self, *prefix: str, device: str = "cpu", **more: str) -> WorkerHandle:
        """Start a worker; `more` are variables for it, `prefix` a command to run it under."""
        log = self.scratch / f"worker-{len(self.workers)}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [*prefix, sys.executable, "-m", "postq.worker", "--device", device],
                env=self.environment(**more),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                cwd=self.scratch,
            )
        handle = WorkerHandle(process, log)
        self.workers.append(handle)
        return handle

    def freeze(self, worker: WorkerHandle) -> None:
        """SIGSTOP a worker at a moment when it is in no transaction that would hold up others.

        SQLite has but one write lock; PostgreSQL ends a transaction of a frozen process after a minute
        (docs/reliability.md).
        """
        if not self.database.is_sqlite:
            wait_until(lambda: self._freezes_idle(worker))
            return
        with self.database.transaction() as session:
            database_now(session)  # begins, and so waits for the lock
            worker.send(signal.SIGSTOP)
            wait_until(lambda: is_stopped(worker.pid))

    def _freezes_idle(self, worker: WorkerHandle) -> bool:
        """Freeze it; should the server see it in a transaction then, let it go on."""
        worker.send(signal.SIGSTOP)
        wait_until(lambda: is_stopped(worker.pid))
        ports = [link.laddr.port for link in psutil.Process(worker.pid).net_connections("tcp")]
        open_ones = sa.text(
            "SELECT count(*) FROM pg_stat_activity WHERE client_port = ANY(:ports) AND xact_start IS NOT NULL"
        )
        if self.one(open_ones.bindparams(ports=ports)).count == 0:
            return True
        worker.send(signal.SIGCONT)
        return False

    def submit(self, spec: JobSpec, **options: Any) -> int:
        """Submit a job; returns its number."""
        with self.database.transaction() as session:
            now = database_now(session)
            job_id = submit(session, spec, now=now, settings=self.settings, **options).job_id
        if self.nudging:
            nudge(self.settings, device_kind="any")
        return job_id

    def classify(self, *, corpus_id: int = 1, bundle: str = "1", **options: Any) -> int:
        return self.submit(ClassifySpec(corpus_id=corpus_id, bundle=bundle), **options)

    def evaluate(self, *, corpus_id: int = 1, bundle: str = "1", **options: Any) -> int:
        return self.submit(EvaluateSpec(corpus_id=corpus_id, bundle=bundle), **options)

    def train(self, spec: TrainSpec, **options: Any) -> int:
        return self.submit(spec, **options)

    def job(self, job_id: int) -> Any:
        """The job's row as it is now."""
        return self.one(sa.select(job).where(job.c.id == job_id))

    def shards(self, job_id: int) -> list[Any]:
        return self.all(sa.select(shard).where(shard.c.job_id == job_id).order_by(shard.c.id))

    def one(self, query: sa.Select[Any]) -> Any:
        with self.database.reading() as session:
            return session.execute(query).one()

    def all(self, query: sa.Select[Any]) -> list[Any]:
        with self.database.reading() as session:
            return list(session.execute(query).all())

    def wait_for_end(self, *job_ids: int, timeout: float = 90) -> list[JobState]:
        """Wait until the jobs are terminal; their states."""

        def ended() -> list[JobState] | None:
            states = [self.job(job_id).state for job_id in job_ids]
            return states if all(state in JOB_TERMINAL for state in states) else None

        return wait_until(ended, timeout, every=0.1, saying=f"jobs {job_ids} to end") or []

    def wait_for_shard(self, job_id: int, state: str, *, timeout: float = 60) -> Any:
        """Wait until a shard of the job is in a state; its row."""
        return wait_until(
            lambda: next((row for row in self.shards(job_id) if row.state == state), None),
            timeout,
            saying=f"a shard of job {job_id} to be {state}",
        )

    def close(self) -> None:
        """End everything this test started."""
        for worker in self.workers:
            runners = worker.runners()
            worker.kill()
            for runner in runners:
                with suppress(psutil.NoSuchProcess):
                    runner.kill()
        self.database.dispose()


@contextmanager
def opened_ground(scratch: Path, **options: Any) -> Iterator[Ground]:
    """A ground that is cleared away afterwards."""
    ground = Ground(scratch, **options)
    try:
        yield ground
    finally:
        ground.close()


def is_stopped(pid: int) -> bool:
    """True when the process was frozen by SIGSTOP."""
    return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)


def runners_of(home: Path) -> list[psutil.Process]:
    """Every runner on this machine started for `home`, and its ranks, whoever their parent is now."""
    found = []
    for process in psutil.process_iter():
        try:
            command, environment = process.cmdline(), process.environ()
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        ours = "postq.worker.runner" in command or any(SPAWNED in word for word in command)
        if ours and environment.get("POSTQ_HOME") == str(home):
            found.append(process)
    return found
