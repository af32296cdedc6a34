"""A whole epoch of fine-tuning: postq against the Trainer of transformers, documents and steps equal.

`python -m benchmarks.hf_trainer` (needs `pip install accelerate`, which the Trainer asks for; takes
five minutes a round on two cores), `--quick` to try it, `--device cuda:0` with more documents for a GPU.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    LongformerConfig,
    LongformerModel,
    Trainer,
    TrainingArguments,
)

from benchmarks._labelled_corpora import require_corpora, split_corpus
from benchmarks.recording import record
from postq.contracts.device import Device
from postq.contracts.document import Document
from postq.contracts.recipes import EncoderRecipe, LabelRecipe
from postq.learning.data import TrainingData
from postq.learning.encoder.backbones.quiet import quiet_transformers
from postq.learning.encoder.backbones.tiny import build_tiny_longformer
from postq.learning.encoder.training.fine_tuning import train_encoder
from postq.learning.hooks import Hooks
from postq.learning.labels import indicator_matrix
from postq.learning.longformer import fastest_threads

STORY_DOCUMENTS, STORY_EPOCHS = 18_000, 5
"""The original recipe's training, which took about 13 hours on Apple MPS."""
METHOD = (
    "One epoch over judgments spread evenly over the sorted lengths of the corpus, cut at 4,096 tokens. "
    "AdamW, linear schedule, gradients clipped. Both get the same backbone of base size with random "
    "weights, hidden dropout 0.1, none on attention probabilities. The Trainer runs stock Longformer (eager) "
    "and is given its tokens for nothing; its time is `train_runtime`. Ours is the whole of `train_encoder` "
    "after tokenising: every step, and the validation of two documents. Interleaved; medians over rounds."
)


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 layers, 4 documents")
    parser.add_argument("--device", default="cpu", help="cpu, cuda:0 or mps")
    parser.add_argument("--documents", type=int, default=8)
    parser.add_argument("--batch", type=int, default=4, help="documents in an optimizer step")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument(
        "--padded", type=int, help="also the Trainer in padded batches of so many; 4 took over 23 GB"
    )
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, help="default: the count that multiplies fastest now")
    given = parser.parse_args()
    if given.padded and given.padded > given.batch:
        parser.error("--padded must not be larger than --batch")
    return given


def main() -> None:
    """Time every way in turn and record the table."""
    asked = options()
    require_corpora()
    if find_spec("accelerate") is None:
        raise SystemExit("The Trainer needs the package accelerate: pip install accelerate.")
    quiet_transformers()
    torch.set_num_threads(asked.threads or fastest_threads())
    count, layers = (4, 2) if asked.quick else (asked.documents, asked.layers)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        recipe = the_recipe(folder / "backbone", batch=asked.batch)
        data = judgments(split_corpus("fca_catchphrases", folder, recipe), count)
        build_backbone(folder / "backbone", data, layers=layers)
        contest = Contest(recipe, data, folder=folder, device=asked.device)
        seen = contest.rounds(asked.rounds, padded=asked.padded)
    rows = table(seen, documents=count)
    record(
        _name(asked),
        rows,
        method=METHOD,
        parameters={
            "documents": count,
            "documents_per_step": asked.batch,
            "tokens": contest.tokens,
            "layers": layers,
            "rounds": asked.rounds,
            "threads": torch.get_num_threads(),
            "accelerate": version("accelerate"),
        },
        device=asked.device,
    )


def _name(asked: argparse.Namespace) -> str:
    kind = asked.device.partition(":")[0]
    return "hf_trainer" + ("" if kind == "cpu" else f"_{kind}") + ("_quick" if asked.quick else "")


def the_recipe(backbone: Path, *, batch: int) -> EncoderRecipe:
    """One epoch, `batch` documents a step, nothing besides."""
    return EncoderRecipe(
        backbone=str(backbone),
        epochs=1,
        batch_documents=batch,
        accumulation=1,
        labels=LabelRecipe(min_label_count=20),
        baseline=False,
    )


def judgments(data: TrainingData, count: int) -> TrainingData:
    """`count` training documents of evenly spread lengths in a mixed order; two short ones to validate on."""
    by_length = sorted(data.train, key=lambda document: document.word_count)
    chosen = [by_length[int((index + 0.5) * len(by_length) / count)] for index in range(count)]
    random.Random(0).shuffle(chosen)
    shortest = sorted(data.validation, key=lambda document: document.word_count)[:2]
    return replace(data, train=chosen, validation=shortest, test=[])


def build_backbone(folder: Path, data: TrainingData, *, layers: int) -> None:
    """A Longformer of base size in the Hub's layout, its tokenizer learnt from these documents."""
    build_tiny_longformer(
        folder, texts=[document.text for document in data.train], max_tokens=4_096, vocab_size=20_000
    )
    config = LongformerConfig.from_pretrained(folder)
    config.hidden_size, config.intermediate_size, config.num_attention_heads = 768, 3_072, 12
    config.num_hidden_layers, config.attention_window = layers, [512] * layers
    config.hidden_dropout_prob, config.attention_probs_dropout_prob = 0.1, 0.0
    config.initializer_range = 0.02
    torch.manual_seed(0)
    LongformerModel(config).save_pretrained(folder)


class Contest:
    """The same epoch by each way."""

    def __init__(self, recipe: EncoderRecipe, data: TrainingData, *, folder: Path, device: str) -> None:
        self._recipe, self._data, self._folder, self._device = recipe, data, folder, device
        self._tokenizer = AutoTokenizer.from_pretrained(recipe.backbone)
        self._examples = self._tokenised(data.train)
        self.tokens = sum(len(example["input_ids"]) for example in self._examples)

    def rounds(self, count: int, *, padded: int | None) -> list[dict[str, float]]:
        """Seconds by way, `count` times, each way in turn."""
        step = self._recipe.batch_documents
        ways: dict[str, Callable[[], float]] = {"postq": self._postq}
        for size in sorted({padded or 1, 1} if self._device == "cpu" else {padded or 1}):
            name = f"Trainer, {size} × {step // size}" + (", padded" if size > 1 else "")
            ways[name] = lambda size=size: self._trainer(documents=size, accumulation=step // size)
        if self._device != "cpu":
            self._postq()  # compiles the kernels, once for a machine
        seen = []
        for at in range(count):
            names = list(ways)
            order = names[at % len(names) :] + names[: at % len(names)]
            seen.append({name: ways[name]() for name in order})
            print({name: round(seconds, 1) for name, seconds in seen[-1].items()}, flush=True)
        return seen

    def _tokenised(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        targets = indicator_matrix(documents, self._data.labels).astype("float32")
        texts = [document.text for document in documents]
        encoded = self._tokenizer(texts, truncation=True, max_length=4_096)
        return [
            {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": target.tolist()}
            for ids, target in zip(encoded["input_ids"], targets, strict=True)
        ]

    def _trainer(self, *, documents: int, accumulation: int) -> float:
        """The Trainer's own count of seconds for one epoch."""
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_pretrained(
            self._recipe.backbone,
            num_labels=len(self._data.labels),
            problem_type="multi_label_classification",
        )
        arguments = TrainingArguments(
            output_dir=str(self._folder / "trainer"),
            per_device_train_batch_size=documents,
            gradient_accumulation_steps=accumulation,
            num_train_epochs=1,
            learning_rate=self._recipe.learning_rate,
            weight_decay=self._recipe.weight_decay,
            warmup_steps=1,
            max_grad_norm=self._recipe.max_gradient_norm,
            train_sampling_strategy="group_by_length",
            bf16=self._device.startswith("cuda"),
            use_cpu=self._device == "cpu",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            log_level="error",
        )
        trainer = Trainer(
            model=model,
            args=arguments,
            train_dataset=self._examples,  # type: ignore[arg-type]
            data_collator=DataCollatorWithPadding(self._tokenizer),
        )
        return float(trainer.train().metrics["train_runtime"])

    def _postq(self) -> float:
        """What the training loop took, the validation of two documents included."""
        kind, _, index = self._device.partition(":")
        device = Device(kind=kind, index=int(index or 0))  # type: ignore[arg-type]
        trained = train_encoder(self._recipe, self._data, device=device, hooks=Hooks())
        return float(trained.timing["seconds"])


def table(seen: Sequence[dict[str, float]], *, documents: int) -> list[dict[str, Any]]:
    """A row for each way; ratios within a round."""
    rows = []
    for name in seen[0]:
        seconds = median(entry[name] for entry in seen)
        story = STORY_DOCUMENTS * STORY_EPOCHS * seconds / documents / 3_600
        rows.append(
            {
                "way": name,
                "seconds": round(seconds, 1),
                "documents/s": round(documents / seconds, 3),
                "postq is faster by": round(median(entry[name] / entry["postq"] for entry in seen), 2),
                "18,000 documents × 5 epochs, hours": round(story, 1),
            }
        )
    return rows


if __name__ == "__main__":
    started = time.perf_counter()
    main()
    print(f"{time.perf_counter() - started:.0f} s in all")
