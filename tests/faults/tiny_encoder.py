"""A Longformer small enough that a test can train it."""

import subprocess
import sys

from postq.contracts.recipes import EncoderRecipe, LabelRecipe
from postq.contracts.specs import TrainSpec
from postq.models.corpus import Corpus
from tests.faults.ground import Ground


def encoder_spec(ground: Ground, *, epochs: int = 2) -> TrainSpec:
    """Train a tiny Longformer, made here and now, on corpus 1."""
    with ground.database.reading() as session:
        snapshot = ground.home / session.get_one(Corpus, 1).path
    folder = ground.scratch / "tiny"
    command = [
        sys.executable,
        "-m",
        "postq.learning.encoder.backbones.tiny",
        str(folder),
        "--snapshot",
        str(snapshot),
    ]
    subprocess.run(command, check=True, timeout=240, env=ground.environment(), capture_output=True)
    recipe = EncoderRecipe(
        backbone=str(folder),
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
