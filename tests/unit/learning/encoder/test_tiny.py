"""The tiny backbone is a real one in small, and the same one every time."""

import hashlib
from pathlib import Path

from transformers import AutoModel, AutoTokenizer, LongformerModel

from postq.learning.encoder.tiny import build_tiny_longformer
from tests.unit.learning.encoder.material import opinions

TEXTS = [each.text for each in opinions(30)]


def build(folder: Path, **options: int) -> Path:
    return build_tiny_longformer(folder, texts=TEXTS, **{"hidden": 16, "max_tokens": 64, **options})


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_plain_transformers_loads_it(tmp_path: Path) -> None:
    folder = build(tmp_path / "tiny")
    assert isinstance(AutoModel.from_pretrained(folder, add_pooling_layer=False), LongformerModel)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("Motion DENIED: café §9")["input_ids"]
    assert (ids[0], ids[-1]) == (0, 2)
    assert tokenizer.unk_token_id not in ids
    assert "motion denied" in tokenizer.decode(ids)


def test_equal_texts_and_seed_give_equal_files(tmp_path: Path) -> None:
    first, second = digests(build(tmp_path / "a")), digests(build(tmp_path / "b"))
    assert first == second
    other = digests(build(tmp_path / "c", seed=7))
    assert other["model.safetensors"] != first["model.safetensors"]
    assert other["tokenizer.json"] == first["tokenizer.json"]
