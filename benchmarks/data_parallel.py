"""One encoder trained in one process and in several: documents a second, and how far the weights drift apart.

On a machine with several GPUs it takes all of them and a base-size model; elsewhere two processes on the CPU
and a small one, which shows that it works and what it costs, not that it pays.
"""

import argparse
import hashlib
import json
import random
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.recording import record
from postq.contracts.device import Device
from postq.contracts.document import Document
from postq.contracts.recipes import EncoderRecipe
from postq.devices import cpu_device, cuda_devices, joined
from postq.learning.data import TrainingData
from postq.learning.encoder.backbones.tiny import build_tiny_longformer
from postq.learning.encoder.steps.workbench import copy_weights
from postq.learning.encoder.training.fine_tuning import train_encoder
from postq.learning.hooks import Hooks

LABELS = tuple(f"label {number}" for number in range(20))
METHOD = (
    "The same training (random weights, random words, no dropout, one epoch) in one process and in several, "
    "interleaved; documents a second of the epoch with its validation, by the training's own clock, without "
    "imports, launching and tokenising; medians. The drift is the largest difference of any weight from one "
    "process' after the epoch."
)


def opinions(count: int, *, words: int, start: int = 0) -> list[Document]:
    """Documents of random words; the labels follow from the first words."""
    made = []
    for row in range(start, start + count):
        draw = random.Random(row)
        labels = draw.sample(LABELS, 2)
        text = " ".join(
            [*labels, *(f"w{draw.randrange(3000)}" for _ in range(draw.randint(words // 2, words)))]
        )
        made.append(
            Document(
                row=row,
                document_id=f"doc-{row}",
                text=text,
                content_hash=hashlib.sha256(text.encode()).digest()[:16],
                word_count=len(text.split()),
                labels=tuple(labels),
            )
        )
    return made


def backbone(folder: Path, documents: Sequence[Document], *, large: bool, tokens: int) -> Path:
    """A Longformer with random weights and no dropout: base-size, or small."""
    size = {"hidden": 768, "layers": 12, "heads": 12, "window": 512} if large else {}
    made = build_tiny_longformer(folder, texts=[each.text for each in documents], max_tokens=tokens, **size)  # type: ignore[arg-type]
    config = json.loads((made / "config.json").read_text())
    (made / "config.json").write_text(json.dumps({**config, "hidden_dropout_prob": 0.0}))
    return made


def train(recipe: EncoderRecipe, data: TrainingData, device: Device) -> tuple[float, dict[str, Tensor]]:
    """Documents a second, and the weights."""
    trained = train_encoder(recipe, data, device=device, hooks=Hooks())
    return len(data.train) / trained.timing["seconds"], copy_weights(trained.model)


def main() -> None:
    """Train in turn with one process and with all, and record the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--window", type=int, default=16, help="documents in an optimizer step")
    given = parser.parse_args()
    gpus = cuda_devices()
    several = joined(gpus) if len(gpus) > 1 else cpu_device(processes=2)
    large = several.kind == "cuda"
    count, tokens = given.documents or (1024 if large else 128), 4096 if large else 512
    speeds: dict[int, list[float]] = {1: [], several.count: []}
    drift = 0.0
    with tempfile.TemporaryDirectory() as name:
        train_split = opinions(count, words=tokens)
        validation = opinions(max(16, count // 8), words=tokens, start=10**6)
        data = TrainingData(
            train=train_split, validation=validation, test=(), labels=LABELS, manifest=(), corpus="random"
        )
        recipe = EncoderRecipe(
            backbone=str(backbone(Path(name) / "model", train_split, large=large, tokens=tokens)),
            max_tokens=tokens,
            epochs=1,
            batch_documents=given.window,
            accumulation=1,
            attention_dropout=0.0,
        )
        for _ in range(given.rounds):
            weights = []
            for device in (several.one(), several):
                speed, trained = train(recipe, data, device)
                speeds[device.count].append(speed)
                weights.append(trained)
            drift = max(drift, *(float((weights[0][n] - weights[1][n]).abs().max()) for n in weights[0]))
    alone = statistics.median(speeds[1])
    rows: list[dict[str, Any]] = [
        {
            "processes": processes,
            "documents_per_second": round(statistics.median(measured), 2),
            "ratio": round(statistics.median(measured) / alone, 2),
            "largest_drift": 0.0 if processes == 1 else float(f"{drift:.1e}"),
        }
        for processes, measured in speeds.items()
    ]
    parameters = {**vars(given), "documents": count, "tokens": tokens, "base_size": large}
    device = torch.cuda.get_device_name() if large else "cpu"
    record("data_parallel", rows, method=METHOD, parameters=parameters, device=device)


if __name__ == "__main__":
    main()
