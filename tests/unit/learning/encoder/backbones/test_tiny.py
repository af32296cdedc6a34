"""The tiny backbone is a real one in small, and the same one every time."""

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoModel, AutoTokenizer, LongformerModel

from postq.errors import Conflict
from postq.learning.encoder.backbones.tiny import build_tiny_longformer, main, snapshot_texts
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


def test_a_folder_that_holds_files_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(Conflict):
        build(tmp_path)


def test_as_a_program_it_learns_its_words_from_a_snapshot(tmp_path: Path) -> None:
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    pq.write_table(pa.table({"text": TEXTS, "row": range(len(TEXTS))}), snapshot / "documents.parquet")
    main([str(tmp_path / "tiny"), "--snapshot", str(snapshot)])
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tiny")
    assert len(tokenizer(" motion denied")["input_ids"]) == 4


def test_no_more_text_is_read_than_the_vocabulary_needs(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["court " * 100] * 500}), tmp_path / "documents.parquet")
    assert len(list(snapshot_texts(tmp_path, most_characters=6000))) == 10
