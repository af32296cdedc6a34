"""A Longformer small enough that a test can train it, and one that was trained once without any fault."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from postq.contracts.recipes import EncoderRecipe, LabelRecipe
from postq.contracts.specs import TrainSpec
from postq.models.tables import bundle
from tests import databases
from tests.faults.accounting import bundle_digest, check_invariants
from tests.faults.ground import Ground, opened_ground
from tests.faults.stock import Stock, put_files, put_rows


@dataclass(frozen=True, kw_only=True)
class TrainedEncoder:
    """The backbone, and the row and folder of the bundle that a training on corpus 1 made of it."""

    backbone: Path
    home: Path
    row: dict[str, Any]
    digest: str

    def put_on(self, ground: Ground) -> str:
        """Copy the bundle to a stocked ground; how to name it there."""
        shutil.copytree(self.home / self.row["path"], ground.home / self.row["path"])
        with ground.database.transaction() as session:
            session.execute(sa.insert(bundle), [self.row])
        return str(self.row["id"])


def build_backbone(folder: Path, stock: Stock) -> Path:
    """A tiny Longformer with random weights, whose tokenizer has read corpus 1."""
    from postq.learning.encoder.backbones.tiny import build_tiny_longformer, snapshot_texts

    (corpus,) = stock.rows["corpus"]
    return build_tiny_longformer(folder, texts=snapshot_texts(stock.home / corpus["path"]))


def encoder_spec(backbone: Path, *, epochs: int = 2) -> TrainSpec:
    """Train it on corpus 1."""
    recipe = EncoderRecipe(
        backbone=str(backbone),
        max_tokens=64,
        epochs=epochs,
        batch_documents=4,
        accumulation=2,
        learning_rate=1e-3,
        baseline=False,
        thresholds="half",
        labels=LabelRecipe(min_label_count=2),
    )
    return TrainSpec(corpus_id=1, bundle_name="tiny", recipe=recipe)


def train_undisturbed(scratch: Path, stock: Stock) -> TrainedEncoder:
    """Train it through a real worker to which nothing happens."""
    backbone, home = build_backbone(scratch / "backbone", stock), scratch / "home"
    url = f"sqlite:///{home / 'postq.db'}"
    home.mkdir()
    databases.lay_schema(url, home=home)
    put_files(stock, home)
    with opened_ground(scratch, home=home, database_url=url) as ground:
        put_rows(stock, ground.database)
        worker = ground.start_worker()
        job_id = ground.train(encoder_spec(backbone))
        assert ground.wait_for_end(job_id, timeout=240) == ["succeeded"]
        assert worker.drain() == 0
        check_invariants(ground, job_id)
        row = ground.one(sa.select(bundle).where(bundle.c.id == ground.job(job_id).bundle_id))
        digest = bundle_digest(ground, job_id)
        return TrainedEncoder(backbone=backbone, home=home, row=dict(row._mapping), digest=digest)
