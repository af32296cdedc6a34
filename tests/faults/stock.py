"""What a ground is stocked with: a corpus and a TF-IDF bundle, made once without any fault."""

import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def add_slow(ground: Ground, *, documents: int) -> int:
    """Add a corpus whose shards take so long that their end can be foreseen, and the next be claimed ahead.

    Nine of its documents make a chunk, whose end a runner tells of; one in eight makes the runner lag.
    """
    file = ground.scratch / "slow.jsonl"
    with file.open("w") as lines:
        for number in range(documents):
            words = " ".join(f"w{(number * 7 + at) % 300}" for at in range(12_000))
            lag = "poisonslow" if number % 8 == 0 else ""
            lines.write(f"{opinion(number, more=f'{lag} {words}')}\n")
    added = add_corpus(ground.database, ground.settings, name="slow", inputs=[Input(path=str(file))])
    assert added.id is not None
    return added.id


def train_spec(corpus_id: int = 1, **changes: Any) -> TrainSpec:
    recipe = RECIPE.model_copy(update=changes)
    return TrainSpec(corpus_id=corpus_id, bundle_name="opinions", recipe=recipe)


def make_stock(scratch: Path) -> Stock:
    """Add a corpus, train a bundle and classify, through a real worker and without any fault."""
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
        return Stock(home=home, rows=rows, digest=result_digest(ground, classified))


def put_files(stock: Stock, home: Path) -> None:
    """Copy the stock's files to another home."""
    for folder in ("corpora", "bundles"):
        shutil.copytree(stock.home / folder, home / folder)


def put_rows(stock: Stock, database: Database) -> None:
    """Copy the stock's rows to another database."""
    with database.transaction() as session:
        for table in (corpus, document, bundle):
            session.execute(sa.insert(table), stock.rows[table.name])
        if not database.is_sqlite:
            for name in ("corpus", "bundle"):
                session.execute(sa.text(f"SELECT setval('{name}_id_seq', 100)"))


def _rows(database: Database, table: sa.Table) -> list[dict[str, Any]]:
    with database.reading() as session:
        return [dict(row._mapping) for row in session.execute(sa.select(table))]
