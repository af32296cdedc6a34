"""A small, randomly initialised Longformer built locally in the Hub's layout: for the demo, tests and CI."""

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import LongformerConfig, LongformerModel, PreTrainedTokenizerFast

from postq.errors import Conflict
from postq.learning.encoder.backbones.program import run_program
from postq.learning.encoder.backbones.quiet import quiet_transformers

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
TOKENIZER_CHARACTERS = 20_000_000
"""Text read to learn the vocabulary: about 3 million words, a few seconds of work."""
ROLES = {
    "bos_token": "<s>",
    "cls_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
}


def build_tiny_longformer(
    folder: Path,
    *,
    texts: Iterable[str],
    hidden: int = 96,
    layers: int = 2,
    heads: int = 4,
    window: int = 64,
    vocab_size: int = 6000,
    max_tokens: int = 1024,
    seed: int = 42,
) -> Path:
    """Write a Longformer backbone whose tokenizer was trained on `texts`; returns `folder`.

    Weights are random, so it knows nothing before fine-tuning, but every file and code path is that of a
    real one. The tokenizer is a lower-casing byte-level BPE: no text is unknown to it. Equal texts and
    seed give equal files. Raises Conflict when `folder` holds files.
    """
    quiet_transformers()
    if folder.exists() and any(folder.iterdir()):
        raise Conflict(f"{folder} already holds files.", hint="Name a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _train_tokenizer(texts, vocab_size=vocab_size)
    wrapped = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        model_max_length=max_tokens,
        **ROLES,
    )
    wrapped.save_pretrained(folder)
    config = LongformerConfig(
        vocab_size=len(wrapped),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=2 * hidden,
        attention_window=[window] * layers,
        max_position_embeddings=max_tokens + SPECIALS.index("<pad>") + 1,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
        sep_token_id=2,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.05,
    )
    _save_random(config, folder, seed=seed)
    return folder


def _train_tokenizer(texts: Iterable[str], *, vocab_size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=list(SPECIALS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer=trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return tokenizer


def _save_random(config: LongformerConfig, folder: Path, *, seed: int) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        LongformerModel(config, add_pooling_layer=False).save_pretrained(folder)
    settings = json.loads((folder / "config.json").read_text())
    settings["architectures"] = ["LongformerModel"]
    (folder / "config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")


def snapshot_texts(snapshot: Path, *, most_characters: int = TOKENIZER_CHARACTERS) -> Iterator[str]:
    """Texts from the Parquet file of a snapshot folder, in order, until there are enough to learn from."""
    read = 0
    for file in sorted(snapshot.glob("*.parquet")):
        for batch in pq.ParquetFile(file).iter_batches(batch_size=64, columns=["text"]):
            for text in batch.column("text").to_pylist():
                yield text
                read += len(text)
                if read >= most_characters:
                    return


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m postq.learning.encoder.backbones.tiny FOLDER --snapshot SNAPSHOT [--seed N]`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--snapshot", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=42)
    given = parser.parse_args(arguments)
    build_tiny_longformer(given.folder, texts=snapshot_texts(given.snapshot), seed=given.seed)


if __name__ == "__main__":
    run_program(main)
