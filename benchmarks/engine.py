"""What the durable engine costs: claims, cycles, plans, commits and status, beside bare transactions."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from pydantic import SecretStr
from sqlalchemy.orm import Session

from benchmarks.recording import record
from postq.bulk import insert_many
from postq.contracts.scoring import ScoreBatch
from postq.contracts.specs import ClassifySpec
from postq.db import Database, open_database
from postq.jobs.claims import claim
from postq.jobs.commit import StoredCounts, commit
from postq.jobs.leases import Lease, renew
from postq.jobs.queries import job_view, list_jobs
from postq.jobs.submit import submit
from postq.jobs.verify import verify_job
from postq.learning.thresholds.decision import Decision
from postq.migrations import upgrade
from postq.models.tables import bundle, document, prediction, prediction_label
from postq.predictions.write import content_hashes, write_predictions
from postq.settings import Settings
from tests.integration.engine.emptying import empty
from tests.integration.engine.world import CPU, World, hash_of
from tests.services import fresh_postgres_database

LABELS = tuple(f"posture {number}" for number in range(41))
"""As many as the ontology of judicial postures has."""
THREADS = 4
RUNS = 5


@contextmanager
def worlds(kind: str) -> Iterator[World]:
    """A world on a migrated, empty database of a kind, as the settings' defaults make it."""
    with tempfile.TemporaryDirectory() as home:
        if kind == "sqlite":
            yield from _opened(f"sqlite:///{home}/postq.db", Path(home))
        else:
            with fresh_postgres_database() as url:
                yield from _opened(url, Path(home))


def _opened(url: str, home: Path) -> Iterator[World]:
    settings = Settings(home=home, database_url=SecretStr(url))
    database = open_database(settings)
    try:
        upgrade(database)
        yield World(database, settings)
    finally:
        database.dispose()


def measure(kind: str, *, seconds: float, documents: int) -> Iterator[dict[str, Any]]:
    """Every row of the table for one database."""
    with worlds(kind) as world:
        base = _per_second(lambda: _bare_update(world), seconds)
        yield _row(kind, "bare one-row update, committed", base, "per second", base)
        for name, rate in _rates(world, seconds).items():
            yield _row(kind, name, rate, "per second", base)
        yield from _plans(kind, world, documents)
        yield from _commits(kind, world)
        yield from _status(kind, world)


def _row(kind: str, what: str, value: float, unit: str, base: float | None) -> dict[str, Any]:
    ratio = round(value / base, 2) if base else None
    return {"database": kind, "what": what, "value": round(value, 2), "unit": unit, "ratio": ratio}


def _per_second(act: Callable[[], object], seconds: float) -> float:
    act()
    done, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        act()
        done += 1
    return done / spent


def _median_ms(act: Callable[[], object], runs: int = RUNS) -> float:
    act()
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        act()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def _bare_update(world: World) -> None:
    with world.session() as session:
        session.execute(sa.text("UPDATE alembic_version SET version_num = version_num"))


def _rates(world: World, seconds: float) -> Mapping[str, float]:
    corpus = world.add_corpus(10, labelled=True)
    world.add_bundle()
    rates = {"submit (training, one shard)": _per_second(lambda: world.train(corpus), seconds)}
    rates["claim, 1 worker"] = _per_second(lambda: world.must_claim(), min(seconds, 0.8 * seconds))
    _top_up(world, corpus, 4000)
    rates[f"claim, {THREADS} workers"] = _by_threads(world, _claim_once, seconds)
    lease = _claim_once(world)
    assert lease is not None
    rates["renewal of a lease"] = _per_second(lambda: _renew(world, lease), seconds)
    _top_up(world, corpus, 4000)
    rates["cycle: claim, renew, commit; 1 worker"] = _per_second(lambda: _cycle(world), seconds)
    rates[f"cycle: claim, renew, commit; {THREADS} workers"] = _by_threads(world, _cycle, seconds)
    return rates


def _top_up(world: World, corpus: int, shards: int) -> None:
    """Queue one job of many shards of one document, so that planning is not what is timed."""
    many = world.add_corpus(shards, name="many")
    world.settings = world.settings.model_copy(update={"shard_documents": 1})
    world.classify(many, priority=1)
    world.settings = world.settings.model_copy(update={"shard_documents": 5000})


def _claim_once(world: World) -> Lease | None:
    with world.session() as session:
        return claim(session, worker_id="w", device=CPU, sticky="", now=world.now, settings=world.settings)


def _renew(world: World, lease: Lease) -> None:
    with world.session() as session:
        assert renew(session, lease, now=world.now, lease_seconds=60).held


def _cycle(world: World) -> None:
    lease = _claim_once(world)
    if lease is None:  # another thread held the row it looked at; a worker would poll again
        return
    _renew(world, lease)
    world.commit(lease)


def _by_threads(world: World, act: Callable[[World], object], seconds: float) -> float:
    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(lambda _: _per_second(lambda: act(world), seconds), range(THREADS)))


def _plans(kind: str, world: World, documents: int) -> Iterator[dict[str, Any]]:
    empty(world.database)
    corpus = world.add_corpus(10_000_000, words=400, rows=False)
    world.add_bundle()
    spent = _median_ms(lambda: world.classify(corpus), runs=3)
    yield _row(kind, "submit and plan 10,000,000 documents (2,000 shards)", spent, "ms", None)
    yield from _only_new(kind, world, documents)


def _only_new(kind: str, world: World, documents: int) -> Iterator[dict[str, Any]]:
    """A corpus of which every document but each hundredth has been scored before."""
    empty(world.database)
    corpus = world.add_corpus(documents, rows=False, words=400)
    world.add_bundle()
    job_id = world.classify(corpus)
    lease = world.must_claim()
    with world.session() as session:
        hashes = [hash_of(f"text {row}") for row in range(documents)]
        rows = ((corpus, row, f"doc-{row}", hashes[row], 400) for row in range(documents))
        insert_many(
            session, document, ("corpus_id", "row", "document_id", "content_hash", "word_count"), rows
        )
        assert lease.fingerprint is not None
        common = (lease.fingerprint, 1, lease.attempt_id, b"", 0, 1, 1)
        scored = ((job_id, row, hashes[row], *common) for row in range(documents) if row % 100)
        insert_many(session, prediction, [column.name for column in prediction.columns], scored)
    _analyze(world.database)
    spent = _median_ms(lambda: world.classify(corpus, only_new=True), runs=3)
    what = f"submit and plan --only-new, {documents:,} documents, 1 % new"
    yield _row(kind, what, spent, "ms", None)


def _analyze(database: Database) -> None:
    with database.transaction() as session:
        session.execute(sa.text("ANALYZE"))


def _commits(kind: str, world: World) -> Iterator[dict[str, Any]]:
    """A shard of 5,000 documents and 41 labels: bare rows first, then the whole fenced commit."""
    empty(world.database)
    corpus = world.add_corpus(5000 * (RUNS + 1))
    world.add_bundle()
    with world.session() as session:
        session.execute(sa.update(bundle).values(labels=list(LABELS)))
    job_id = world.classify(corpus)
    _compact(world.database)
    before = _size(world.database)
    timed = [_timed_commit(world) for _ in range(RUNS + 1)][1:]
    bare = statistics.median(rows for rows, _ in timed)
    whole = statistics.median(whole for _, whole in timed)
    yield _row(kind, "bulk write of 5,000 predictions, 41 labels", bare, "ms", None)
    yield _row(kind, "fenced commit of the same shard, all included", whole, "ms", bare)
    with world.database.reading() as session:
        stored = session.execute(sa.select(sa.func.count()).select_from(prediction)).scalar_one()
        labels = session.execute(sa.select(sa.func.count()).select_from(prediction_label)).scalar_one()
        assert verify_job(session, job_id).problems == ()
    yield _row(kind, "database bytes a prediction", (_size(world.database) - before) / stored, "bytes", None)
    yield _row(kind, "labels over threshold a prediction", labels / stored, "labels", None)


def _timed_commit(world: World) -> tuple[float, float]:
    """Milliseconds inside the bulk writes, and of the whole commit."""
    lease = world.must_claim()
    inside: list[float] = []

    def store(session: Session, lease: Lease) -> StoredCounts:
        batch, hashes = _scores(session, lease)
        start = time.perf_counter()
        written = write_predictions(
            session,
            job_id=lease.job_id,
            attempt_id=lease.attempt_id,
            bundle_id=lease.bundle_id or 0,
            fingerprint=lease.fingerprint or b"",
            labels=LABELS,
            decision=Decision.at([0.95] * len(LABELS)),
            batches=[batch],
            document_hashes=hashes,
        )
        inside.append(1000 * (time.perf_counter() - start))
        return StoredCounts(predicted=written)

    start = time.perf_counter()
    with world.session() as session:
        assert commit(session, lease, now=world.now, settings=world.settings, store=store)
    return inside[0], 1000 * (time.perf_counter() - start)


def _scores(session: Session, lease: Lease) -> tuple[ScoreBatch, dict[int, bytes]]:
    hashes = content_hashes(
        session, corpus_id=lease.corpus_id, start_row=lease.start_row, stop_row=lease.stop_row
    )
    rows = np.arange(lease.start_row, lease.stop_row)
    scores = np.random.default_rng(lease.start_row).random((len(rows), len(LABELS)), dtype=np.float32)
    tokens = np.ones(len(rows), dtype=np.int32)
    return ScoreBatch(rows=rows, scores=scores, tokens_total=tokens, tokens_seen=tokens), hashes


def _compact(database: Database) -> None:
    """Give back the pages of deleted rows, so that growth can be measured."""
    raw = database.engine.raw_connection()
    try:
        if not database.is_sqlite:
            raw.driver_connection.autocommit = True
        raw.driver_connection.execute("VACUUM" if database.is_sqlite else "VACUUM FULL")
        if not database.is_sqlite:
            raw.driver_connection.autocommit = False
    finally:
        raw.close()


def _size(database: Database) -> int:
    query = "SELECT pg_database_size(current_database())"
    if database.is_sqlite:
        query = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    with database.reading() as session:
        return int(session.execute(sa.text(query)).scalar_one())


def _status(kind: str, world: World) -> Iterator[dict[str, Any]]:
    """10,000 queued jobs, and one running with 1,000 shards of which 8 are leased."""
    empty(world.database)
    corpus = world.add_corpus(1000)
    world.add_bundle()
    world.settings = world.settings.model_copy(update={"shard_documents": 1})
    big = world.classify(corpus, priority=1)
    for _ in range(8):
        world.commit(world.must_claim())
        world.must_claim()
    one = world.add_corpus(1, name="one")
    spec = ClassifySpec(corpus_id=one, bundle="postures")
    with world.session() as session:
        for _ in range(10_000):
            submit(session, spec, now=world.now, settings=world.settings)
    _analyze(world.database)
    for what, act in (("one job", _one), ("the newest 50 jobs", _list)):
        spent = _median_ms(lambda act=act: act(world, big))  # type: ignore[misc]
        yield _row(kind, f"status of {what} among 10,000 jobs, 1,000 shards in one", spent, "ms", None)


def _one(world: World, job_id: int) -> None:
    with world.database.reading() as session:
        assert job_view(session, job_id, now=world.now, settings=world.settings).shards["done"] == 8


def _list(world: World, job_id: int) -> None:
    del job_id
    with world.database.reading() as session:
        assert len(list_jobs(session, now=world.now, settings=world.settings)) == 50


def main() -> None:
    """Measure both databases and record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--databases", nargs="+", default=["sqlite", "postgres"])
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each rate is measured")
    parser.add_argument("--documents", type=int, default=200_000, help="corpus of the --only-new plan")
    given = parser.parse_args()
    rows = [
        row
        for kind in given.databases
        for row in measure(kind, seconds=given.seconds, documents=given.documents)
    ]
    record(
        "engine",
        rows,
        method=(
            "The engine's functions called in this process, no broker and no runner; each act is one durable "
            "transaction (SQLite WAL with synchronous=FULL; PostgreSQL with its defaults, over TCP on this "
            "machine). Rates: acts in the seconds given after one warm-up; the ratio is to a bare one-row "
            f"update in the same database. Times: median of {RUNS} runs (plans: 3) after one warm-up; the "
            "ratio of the commit is to its bulk write alone."
        ),
        parameters={"seconds": given.seconds, "documents": given.documents, "threads": THREADS},
    )


if __name__ == "__main__":
    main()
