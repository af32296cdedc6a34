"""A small world around the engine: a clock the test moves, corpora, bundles, and a worker played here."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.orm import Session

from postq.contracts.device import Device
from postq.contracts.failure import FailureClass
from postq.contracts.recipes import EncoderRecipe, TfidfRecipe
from postq.contracts.scoring import DocumentFailure, ScoreBatch
from postq.contracts.specs import ClassifySpec, EvaluateSpec, JobSpec, TrainSpec
from postq.db import Database
from postq.jobs.claims import claim
from postq.jobs.commit import StoredCounts, commit
from postq.jobs.leases import Lease, pending_rows
from postq.jobs.reconcile import ACTS
from postq.jobs.retries import Outcome, fail_attempt
from postq.jobs.submit import Submitted, submit
from postq.jobs.verify import Verification, verify_job
from postq.learning.thresholds.decision import Decision
from postq.models.corpus import Corpus
from postq.models.job import Job, JobState
from postq.models.shard import Shard
from postq.models.tables import document, job, shard
from postq.predictions.write import content_hashes, write_predictions, write_quarantine
from postq.registry.bundles import register_bundle
from postq.settings import Settings

CPU = Device(kind="cpu", name="test", memory_bytes=16_000_000_000)
GPU = Device(kind="cuda", index=0, name="test", memory_bytes=80_000_000_000)
LABELS = ("affirmed", "reversed", "remanded")
THRESHOLDS = np.array([0.3, 0.5, 0.7], dtype=np.float32)
AT_THRESHOLDS = Decision.at(THRESHOLDS)
MORNING = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def hash_of(text: str) -> bytes:
    """A content hash as snapshots have it."""
    return hashlib.sha256(text.encode()).digest()[:16]


def score_of(content_hash: bytes, fingerprint: bytes) -> list[float]:
    """Scores that depend on content and bundle only, as those of a real model do."""
    drawn = hashlib.sha256(content_hash + fingerprint).digest()
    return [drawn[column] / 255 for column in range(len(LABELS))]


class World:
    """One database, a clock under the test's control, and what a worker does, done by calls."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self.database = database
        self.settings = settings
        self.now = MORNING
        self.same_weights: dict[bytes, bytes] = {}
        """Fingerprint of other thresholds → that of the model they are for, whose scores it gives."""
        self.decisions: dict[bytes, Decision] = {}
        """Fingerprint → thresholds and rules that are not the usual ones."""

    def later(self, seconds: float) -> datetime:
        """Move the clock."""
        self.now += timedelta(seconds=seconds)
        return self.now

    @contextmanager
    def session(self) -> Iterator[Session]:
        """One write transaction."""
        with self.database.transaction() as session:
            yield session

    def add_corpus(
        self,
        documents: int = 10,
        *,
        name: str = "opinions",
        texts: Callable[[int], str] = "text {}".format,
        words: int = 100,
        labelled: bool = True,
        rows: bool = True,
    ) -> int:
        """A corpus whose document `row` has the text `texts(row)`; returns its number."""
        with self.session() as session:
            versions = session.scalar(
                sa.select(sa.func.count()).select_from(Corpus).where(Corpus.name == name)
            )
            corpus = Corpus(
                name=name,
                version=(versions or 0) + 1,
                path=f"corpora/{name}/{(versions or 0) + 1}",
                digest="d" * 64,
                source="test",
                documents=documents,
                words=documents * words,
                labelled_documents=documents if labelled else 0,
                facts={},
                created_at=self.now,
            )
            session.add(corpus)
            session.flush()
            assert corpus.id is not None
            if rows and documents:
                session.execute(
                    sa.insert(document), [self._row(corpus.id, row, texts) for row in range(documents)]
                )
            return corpus.id

    def _row(self, corpus_id: int, row: int, texts: Callable[[int], str]) -> dict[str, Any]:
        return {
            "corpus_id": corpus_id,
            "row": row,
            "document_id": f"doc-{row}",
            "content_hash": hash_of(texts(row)),
            "word_count": 100,
        }

    def add_bundle(
        self, name: str = "postures", *, weights: str = "w1", job_id: int | None = None, kind: str = "tfidf"
    ) -> int:
        """A registered bundle; `weights` make its digest and fingerprint."""
        with self.session() as session:
            return self.register(session, name, weights=weights, job_id=job_id, kind=kind)

    def register(
        self, session: Session, name: str, *, weights: str, job_id: int | None, kind: str = "tfidf"
    ) -> int:
        """Register a bundle inside a transaction of the caller."""
        row = register_bundle(
            session,
            name=name,
            kind=kind,
            digest=hashlib.sha256(weights.encode()).hexdigest(),
            path=f"bundles/{weights}",
            fingerprint=hash_of(f"fingerprint {weights}"),
            threshold_digest="t",
            labels=LABELS,
            metrics={},
            size_bytes=1,
            job_id=job_id,
            now=self.now,
        )
        assert row.id is not None
        return row.id

    def submit(self, spec: JobSpec, **options: Any) -> int:
        """Submit in a transaction of its own; returns the job's number."""
        return self.try_submit(spec, **options).job_id

    def try_submit(self, spec: JobSpec, **options: Any) -> Submitted:
        """Submit in a transaction of its own."""
        with self.session() as session:
            return submit(session, spec, now=self.now, settings=self.settings, **options)

    def classify(
        self, corpus_id: int, bundle: str = "postures", *, only_new: bool = False, **options: Any
    ) -> int:
        """Submit a classification."""
        spec = ClassifySpec(corpus_id=corpus_id, bundle=bundle, only_new=only_new)
        return self.submit(spec, **options)

    def train(self, corpus_id: int, name: str = "postures", **options: Any) -> int:
        """Submit a training."""
        return self.submit(TrainSpec(corpus_id=corpus_id, bundle_name=name, recipe=TfidfRecipe()), **options)

    def train_on_all(self, corpus_id: int, **options: Any) -> int:
        """Submit a training on all devices of whichever worker takes it."""
        spec = TrainSpec(corpus_id=corpus_id, bundle_name="long", recipe=EncoderRecipe(), devices="all")
        return self.submit(spec, **options)

    def evaluate(self, corpus_id: int, bundle: str = "postures", **options: Any) -> int:
        """Submit an evaluation."""
        return self.submit(EvaluateSpec(corpus_id=corpus_id, bundle=bundle), **options)

    def claim(self, worker: str = "w1", *, device: Device = CPU, sticky: str = "") -> Lease | None:
        """Claim as a worker."""
        with self.session() as session:
            return claim(
                session,
                worker_id=worker,
                device=device,
                sticky=sticky,
                now=self.now,
                settings=self.settings,
            )

    def must_claim(self, worker: str = "w1", **options: Any) -> Lease:
        """Claim, and there must be something."""
        lease = self.claim(worker, **options)
        assert lease is not None
        return lease

    def commit(self, lease: Lease, *, failing: Mapping[int, str] | None = None) -> bool:
        """Do the shard's work honestly and commit it; rows in `failing` are quarantined with their error."""
        with self.session() as session:
            return commit(
                session,
                lease,
                now=self.now,
                settings=self.settings,
                store=lambda session, lease: self.store(session, lease, failing=failing or {}),
            )

    def store(self, session: Session, lease: Lease, *, failing: Mapping[int, str]) -> StoredCounts:
        """What a task's `store` does, with scores made here."""
        if isinstance(lease.spec, TrainSpec):
            weights = f"trained by {lease.job_id}"
            made = self.register(session, lease.spec.bundle_name, weights=weights, job_id=lease.job_id)
            return StoredCounts(bundle_id=made, result={"micro_f1": 0.5})
        if isinstance(lease.spec, EvaluateSpec):
            return StoredCounts(result={"micro_f1": 0.4})
        rows = [row for row in pending_rows(session, lease) if row not in failing]
        failed = [row for row in pending_rows(session, lease) if row in failing]
        hashes = content_hashes(
            session, corpus_id=lease.corpus_id, start_row=lease.start_row, stop_row=lease.stop_row
        )
        assert lease.bundle_id is not None
        assert lease.fingerprint is not None
        model = self.same_weights.get(lease.fingerprint, lease.fingerprint)
        predicted = write_predictions(
            session,
            job_id=lease.job_id,
            attempt_id=lease.attempt_id,
            bundle_id=lease.bundle_id,
            fingerprint=lease.fingerprint,
            labels=LABELS,
            decision=self.decisions.get(lease.fingerprint, AT_THRESHOLDS),
            batches=[batch_of(rows, hashes, model)] if rows else [],
            document_hashes=hashes,
        )
        quarantined = write_quarantine(
            session,
            job_id=lease.job_id,
            attempt_id=lease.attempt_id,
            failures=[DocumentFailure(row=row, error=failing[row]) for row in failed],
        )
        return StoredCounts(predicted=predicted, quarantined=quarantined)

    def fail(
        self, lease: Lease, failure: FailureClass = FailureClass.ERROR, message: str = "it broke"
    ) -> Outcome:
        """Report a failed attempt."""
        with self.session() as session:
            return fail_attempt(
                session, lease, failure=failure, message=message, now=self.now, settings=self.settings
            )

    def maintain(self) -> None:
        """One maintenance pass, each act in its own transaction as the worker does it."""
        for act in ACTS.values():
            with self.session() as session:
                act(session, now=self.now, settings=self.settings)

    def work_off(self, *, poison: frozenset[int] = frozenset(), most: int = 1000, **claiming: Any) -> int:
        """Claim and commit until nothing is left; a shard holding a poisonous row crashes its runner."""
        cycles = 0
        while cycles < most:
            lease = self.claim(**claiming)
            if lease is None:
                return cycles
            cycles += 1
            with self.database.reading() as session:
                todo = set(pending_rows(session, lease))
            if lease.splittable and todo & poison:
                self.fail(lease, FailureClass.CRASH, "signal 11")
                self.later(600)
            else:
                self.commit(lease)
        raise AssertionError(f"not done after {most} attempts")

    def job(self, job_id: int) -> Job:
        """The job's row."""
        with self.database.reading() as session:
            return session.get_one(Job, job_id)

    def state(self, job_id: int) -> JobState:
        """The job's state."""
        return self.job(job_id).state

    def shards(self, job_id: int) -> list[Shard]:
        """The job's shards in order."""
        with self.database.reading() as session:
            return list(
                session.scalars(sa.select(Shard).where(shard.c.job_id == job_id).order_by(shard.c.id))
            )

    def verify(self, job_id: int) -> Verification:
        """The job's verification, which must find nothing wrong."""
        with self.database.reading() as session:
            verified = verify_job(session, job_id)
        assert verified.problems == ()
        return verified

    def verify_all(self) -> None:
        """Every job keeps its promises."""
        with self.database.reading() as session:
            ids = session.scalars(sa.select(job.c.id)).all()
        for job_id in ids:
            self.verify(job_id)


def batch_of(rows: list[int], hashes: Mapping[int, bytes], fingerprint: bytes) -> ScoreBatch:
    """Scores of some rows."""
    tokens = np.full(len(rows), 100, dtype=np.int32)
    return ScoreBatch(
        rows=np.array(rows, dtype=np.int64),
        scores=np.array([score_of(hashes[row], fingerprint) for row in rows], dtype=np.float32),
        tokens_total=tokens,
        tokens_seen=tokens,
    )
