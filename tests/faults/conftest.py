"""Grounds stocked with a corpus and a TF-IDF bundle that were made once a run, through the real worker."""

import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from postq.contracts.recipes import LabelRecipe, TfidfRecipe
from postq.contracts.specs import TrainSpec
from postq.corpus.location import Input
from postq.db import Database
from postq.models.tables import bundle, corpus, document
from postq.registry.intake import add_corpus
from tests import databases
from tests.faults.accounting import check_invariants, result_digest
from tests.faults.ground import Ground, opened_ground
from tests.faults.link import Link
from tests.faults.servers import PrivatePostgres, PrivateRedis, running

DOCUMENTS = 60
LABELS = ("appeal", "dismissal", "summary")
RECIPE = TfidfRecipe(
    regularisation=(1.0,),
    folds=2,
    max_features=2000,
    thresholds="half",
    labels=LabelRecipe(min_label_count=2),
)
"""Small and quick; what is learned matters little here."""


@dataclass(frozen=True, kw_only=True)
class Stock:
    """Files and rows of corpus 1 and bundle 1, and what a fault-free classification gives."""

    home: Path
    rows: dict[str, list[dict[str, Any]]]
    digest: str


def opinion(number: int, *, more: str = "") -> str:
    """One line of JSON: a short opinion with a label its words betray."""
    words = random.Random(number)
    label = LABELS[number % len(LABELS)]
    filler = " ".join(f"w{words.randrange(300)}" for _ in range(30))
    paragraph = f"The motion for {label} in matter {number} is heard. {filler} {label} {label} {more}"
    sections = [{"headtext": "Opinion", "paragraphs": [paragraph]}]
    return json.dumps({"documentId": f"op-{number}", "postures": [label], "sections": sections})


def write_opinions(file: Path, *, poison: dict[int, str] | None = None, documents: int = DOCUMENTS) -> Path:
    """A corpus file; `poison` adds a marked word to some documents (see poison/sitecustomize.py)."""
    lines = [opinion(number, more=(poison or {}).get(number, "")) for number in range(documents)]
    file.write_text("\n".join(lines) + "\n")
    return file


def train_spec(corpus_id: int = 1, **changes: Any) -> TrainSpec:
    recipe = RECIPE.model_copy(update=changes)
    return TrainSpec(corpus_id=corpus_id, bundle_name="opinions", recipe=recipe)


@pytest.fixture(scope="session")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stock]:
    """Made without any fault: a corpus added, a bundle trained and a classification run by a real worker."""
    scratch = tmp_path_factory.mktemp("stock")
    home = scratch / "home"
    url = f"sqlite:///{home / 'postq.db'}"
    home.mkdir()
    databases.lay_schema(url, home=home)
    with opened_ground(scratch, home=home, database_url=url) as ground:
        file = write_opinions(scratch / "opinions.jsonl")
        add_corpus(ground.database, ground.settings, name="opinions", inputs=[Input(path=str(file))])
        worker = ground.start_worker()
        trained = ground.train(train_spec())
        classified = ground.classify(bundle=f"job:{trained}", after_job_id=trained)
        assert ground.wait_for_end(trained, classified) == ["succeeded", "succeeded"]
        assert worker.drain() == 0
        check_invariants(ground, trained, classified)
        rows = {table.name: _rows(ground.database, table) for table in (corpus, document, bundle)}
        yield Stock(home=home, rows=rows, digest=result_digest(ground, classified))


MakeGround = Callable[..., Ground]


@pytest.fixture
def stocked(stock: Stock, tmp_path: Path, isolated_settings: Path) -> Iterator[MakeGround]:
    """`stocked(database, …)`: a ground of this test's own with corpus 1 and bundle 1 on it."""
    for folder in ("corpora", "bundles"):
        shutil.copytree(stock.home / folder, isolated_settings / folder)
    with ExitStack() as stack:

        def make(database: Database, **options: Any) -> Ground:
            _insert(database, stock.rows)
            url = database.engine.url.render_as_string(hide_password=False)
            place = opened_ground(tmp_path, home=isolated_settings, **{"database_url": url, **options})
            return stack.enter_context(place)

        yield make


@pytest.fixture
def ground(stocked: MakeGround, sqlite_database: Database) -> Ground:
    """On SQLite, embedded broker."""
    return stocked(sqlite_database)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def either_ground(stocked: MakeGround, request: pytest.FixtureRequest) -> Ground:
    """Once on SQLite, once on PostgreSQL; embedded broker."""
    return stocked(request.getfixturevalue(f"{request.param}_database"))


@pytest.fixture
def link() -> Iterator[Callable[[str], Link]]:
    """`link(url)`: a link to that server which can be cut."""
    with ExitStack() as stack:

        def make(url: str) -> Link:
            made = Link.to(url)
            stack.callback(made.close)
            return made

        yield make


@pytest.fixture
def private_postgres(tmp_path: Path) -> Iterator[PrivatePostgres]:
    """A PostgreSQL cluster that may be stopped and frozen; schema laid."""
    with tempfile.TemporaryDirectory(prefix="postq-postgres-") as folder:
        server = PrivatePostgres(Path(folder))
        with running(server):
            databases.lay_schema(server.url, home=tmp_path)
            yield server


@pytest.fixture
def private_redis(tmp_path: Path) -> Iterator[PrivateRedis]:
    """A Redis without persistence that may be killed."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = PrivateRedis(folder)
    with running(server):
        yield server


def _rows(database: Database, table: sa.Table) -> list[dict[str, Any]]:
    with database.reading() as session:
        return [dict(row._mapping) for row in session.execute(sa.select(table))]


def _insert(database: Database, rows: dict[str, list[dict[str, Any]]]) -> None:
    with database.transaction() as session:
        for table in (corpus, document, bundle):
            session.execute(sa.insert(table), rows[table.name])
        if not database.is_sqlite:
            for name in ("corpus", "bundle"):
                session.execute(sa.text(f"SELECT setval('{name}_id_seq', 100)"))
