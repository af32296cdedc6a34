"""A BERT-shaped encoder as a Longformer that reads thousands of tokens, with equal outputs on short texts."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoTokenizer, BertConfig, BertModel, LongformerConfig, LongformerModel

from postq.errors import BadInput, BundleUnusable, Conflict
from postq.learning.encoder.backbones.loading import require_source
from postq.learning.encoder.backbones.program import run_program
from postq.learning.encoder.backbones.quiet import quiet_transformers

GLOBAL = ("query", "key", "value")


def convert_bert_to_longformer(
    source_folder: Path, target_folder: Path, *, max_tokens: int = 4096, window: int = 512
) -> Path:
    """Write the BERT model in `source_folder` as a Longformer backbone; returns `target_folder`.

    Position rows are tiled up to `max_tokens` and the global projections copied from the local ones
    (Beltagy et al. 2020, section 5). Hidden states equal BERT's where the window covers the whole text, that
    is for texts of up to window / 2 + 1 tokens. Raises BundleUnusable when the source is no BERT, BadInput
    for an odd window, Conflict when the target holds files.
    """
    quiet_transformers()
    if window < 2 or window % 2:
        raise BadInput(f"A window of {window} does not divide into two halves.", hint="Use an even window.")
    require_source(str(source_folder))
    if target_folder.exists() and any(target_folder.iterdir()):
        raise Conflict(f"{target_folder} already holds files.", hint="Name a new folder.")
    bert = _load_bert(source_folder)
    tokenizer = _load_tokenizer(source_folder, max_tokens=max_tokens)
    config = _longformer_config(bert.config, tokenizer, max_tokens=max_tokens, window=window)
    longformer = LongformerModel(config, add_pooling_layer=False)
    longformer.load_state_dict(_mapped(bert.state_dict(), config, max_tokens=max_tokens))
    target_folder.mkdir(parents=True, exist_ok=True)
    longformer.save_pretrained(target_folder)
    tokenizer.save_pretrained(target_folder)
    return target_folder


def _load_bert(folder: Path) -> Any:
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        if not isinstance(config, BertConfig) or config.model_type != "bert":
            raise BundleUnusable(
                f"{folder} holds a model of type '{config.model_type}', not bert.",
                hint="Only BERT-shaped encoders can be converted.",
            )
        return BertModel.from_pretrained(
            folder,
            config=config,
            add_pooling_layer=False,
            use_safetensors=True,
            local_files_only=True,
            dtype=torch.float32,
        )
    except (OSError, ValueError, RuntimeError) as exc:
        raise BundleUnusable(
            f"{folder} could not be read as a BERT model: {' '.join(str(exc).split())[:300]}",
            hint="Give a folder with config.json, model.safetensors and the tokenizer's files.",
        ) from exc


def _load_tokenizer(folder: Path, *, max_tokens: int) -> Any:
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError) as exc:
        raise BundleUnusable(
            f"{folder} holds no tokenizer that can be read.", hint="Add tokenizer.json to the folder."
        ) from exc
    tokenizer.model_max_length = max_tokens
    return tokenizer


def _longformer_config(bert: Any, tokenizer: Any, *, max_tokens: int, window: int) -> LongformerConfig:
    pad = int(bert.pad_token_id or 0)
    return LongformerConfig(
        vocab_size=bert.vocab_size,
        hidden_size=bert.hidden_size,
        num_hidden_layers=bert.num_hidden_layers,
        num_attention_heads=bert.num_attention_heads,
        intermediate_size=bert.intermediate_size,
        hidden_act=bert.hidden_act,
        hidden_dropout_prob=bert.hidden_dropout_prob,
        attention_probs_dropout_prob=bert.attention_probs_dropout_prob,
        attention_window=[window] * bert.num_hidden_layers,
        max_position_embeddings=max_tokens + pad + 1,
        type_vocab_size=bert.type_vocab_size,
        initializer_range=bert.initializer_range,
        layer_norm_eps=bert.layer_norm_eps,
        pad_token_id=pad,
        bos_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id,
        eos_token_id=tokenizer.sep_token_id,
    )


def _mapped(source: dict[str, Tensor], config: LongformerConfig, *, max_tokens: int) -> dict[str, Tensor]:
    target = {name: value for name, value in source.items() if "position" not in name}
    learned = source["embeddings.position_embeddings.weight"]
    repeats = -(-max_tokens // len(learned))
    # Longformer counts positions from the padding id + 1; the rows before are never looked up by a token.
    lead = torch.zeros(int(config.pad_token_id or 0) + 1, learned.shape[1])
    tiled = torch.cat([lead, learned.repeat(repeats, 1)[:max_tokens]])
    target["embeddings.position_embeddings.weight"] = tiled
    for layer in range(config.num_hidden_layers):
        for name in GLOBAL:
            for kind in ("weight", "bias"):
                local = f"encoder.layer.{layer}.attention.self.{name}"
                target[f"{local}_global.{kind}"] = source[f"{local}.{kind}"].clone()
    return target


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m postq.learning.encoder.backbones.convert SOURCE TARGET [--max-tokens N] [--window N]`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--max-tokens", type=int, default=4096)
    parser.add_argument("--window", type=int, default=512)
    given = parser.parse_args(arguments)
    convert_bert_to_longformer(given.source, given.target, max_tokens=given.max_tokens, window=given.window)


if __name__ == "__main__":
    run_program(main)
