"""A Longformer small enough that a test can train it."""

from pathlib import Path

from postq.contracts.recipes import EncoderRecipe, LabelRecipe
from postq.contracts.specs import TrainSpec
from tests.faults.stock import Stock


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
