"""Small corpora and backbones, built here, so that encoder tests need no network and no second thread."""

from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from postq.contracts.recipes import EncoderRecipe
from postq.learning.encoder.backbones.tiny import build_tiny_longformer
from tests.unit.learning.encoder.material import FILLER, TOPICS, opinions, save_wordpiece


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Two threads on a busy machine can be many times slower than one, and order sums differently."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Longformer of two layers for up to 128 tokens."""
    return build_tiny_longformer(
        tmp_path_factory.mktemp("tiny") / "backbone",
        texts=[each.text for each in opinions(100)],
        hidden=32,
        heads=2,
        window=16,
        vocab_size=600,
        max_tokens=128,
    )


@pytest.fixture
def tiny_recipe(tiny_backbone: Path) -> Callable[..., EncoderRecipe]:
    """A recipe for the tiny backbone; keywords change single values."""

    def recipe(**changes: object) -> EncoderRecipe:
        values: dict[str, object] = {
            "backbone": str(tiny_backbone),
            "max_tokens": 128,
            "epochs": 2,
            "batch_documents": 4,
            "accumulation": 2,
            "learning_rate": 3e-3,
            "patience": 0,
            "baseline": False,
        }
        return EncoderRecipe.model_validate(values | changes)

    return recipe


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers for up to 32 tokens, with a WordPiece tokenizer that does not know every word."""
    folder = tmp_path_factory.mktemp("tiny") / "bert"
    words = sorted({*FILLER, *chain.from_iterable(TOPICS.values())})
    save_wordpiece(folder, words, max_tokens=32)
    config = BertConfig(
        vocab_size=len(words) + 5,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=32,
        initializer_range=0.2,
    )
    torch.manual_seed(1)
    BertModel(config).save_pretrained(folder)
    return folder
