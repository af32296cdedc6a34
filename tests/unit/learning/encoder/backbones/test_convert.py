"""A BERT becomes a Longformer that agrees with it where both can read, and reads on where BERT cannot."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoTokenizer, BertModel, LongformerModel

from postq.errors import BundleUnusable, Conflict
from postq.learning.encoder.backbones import convert
from postq.learning.encoder.backbones.convert import convert_bert_to_longformer
from postq.learning.encoder.backbones.loading import load_backbone
from postq.learning.encoder.backbones.program import run_program
from tests.unit.learning.encoder.material import FILLER, LABELS

IDS = torch.randint(5, len(FILLER) + 5, (3, 32), generator=torch.Generator().manual_seed(4))


@pytest.fixture(scope="module")
def longformer_folder(tiny_bert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("converted") / "longformer"
    # 64 reaches 32 tokens to either side: the window covers every text the BERT can read.
    return convert_bert_to_longformer(tiny_bert, target, max_tokens=200, window=64)


def hidden(model: Any, ids: torch.Tensor, **inputs: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.as_tensor(model.eval()(ids, **inputs).last_hidden_state)


def test_hidden_states_equal_bert_s_where_the_window_covers_the_text(
    tiny_bert: Path, longformer_folder: Path
) -> None:
    bert, longformer = (
        BertModel.from_pretrained(tiny_bert),
        LongformerModel.from_pretrained(longformer_folder),
    )
    for length in (1, 2, 17, 32):
        expected = hidden(bert, IDS[:, :length])
        assert expected.std() > 0.1
        assert float((hidden(longformer, IDS[:, :length]) - expected).abs().max()) <= 1e-5


def test_the_first_token_made_global_still_agrees(tiny_bert: Path, longformer_folder: Path) -> None:
    bert, longformer = (
        BertModel.from_pretrained(tiny_bert),
        LongformerModel.from_pretrained(longformer_folder),
    )
    glance = torch.zeros_like(IDS)
    glance[:, 0] = 1
    found = hidden(longformer, IDS, global_attention_mask=glance)
    assert float((found - hidden(bert, IDS)).abs().max()) <= 1e-5


def test_the_result_reads_far_longer_texts_than_its_source(longformer_folder: Path) -> None:
    backbone = load_backbone(str(longformer_folder), labels=LABELS, max_tokens=200)
    assert backbone.piece_tokens == 200
    assert backbone.tokenizer.model_max_length == 200


def test_positions_beyond_the_source_repeat_its_rows(tiny_bert: Path, longformer_folder: Path) -> None:
    learned = BertModel.from_pretrained(tiny_bert).embeddings.position_embeddings.weight
    table = LongformerModel.from_pretrained(longformer_folder).embeddings.position_embeddings.weight
    assert table.shape[0] == 201
    assert torch.equal(table[1:33], learned)
    assert torch.equal(table[33:65], learned)


def test_global_projections_start_as_the_local_ones(longformer_folder: Path) -> None:
    attention = LongformerModel.from_pretrained(longformer_folder).encoder.layer[1].attention.self
    for name in ("query", "key", "value"):
        assert torch.equal(getattr(attention, name).weight, getattr(attention, f"{name}_global").weight)


def test_the_tokenizer_comes_along(tiny_bert: Path, longformer_folder: Path) -> None:
    ours, source = (AutoTokenizer.from_pretrained(folder) for folder in (longformer_folder, tiny_bert))
    assert ours("court held λόγος")["input_ids"] == source("court held λόγος")["input_ids"]


def test_anything_but_a_bert_is_refused(tiny_backbone: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleUnusable, match="type 'longformer', not bert"):
        convert_bert_to_longformer(tiny_backbone, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_source_without_weights_is_refused(tiny_bert: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(tiny_bert, tmp_path / "bare"))
    (bare / "model.safetensors").unlink()
    with pytest.raises(BundleUnusable, match="could not be read as a BERT model"):
        convert_bert_to_longformer(bare, tmp_path / "new")


def test_a_folder_that_holds_files_is_not_written_to(tiny_bert: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(Conflict):
        convert_bert_to_longformer(tiny_bert, tmp_path)


def test_the_source_stays_as_it_was(tiny_bert: Path, longformer_folder: Path) -> None:
    del longformer_folder
    assert isinstance(AutoModel.from_pretrained(tiny_bert), BertModel)


def test_as_a_program_it_converts_or_says_why_not(
    tiny_bert: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convert.main([str(tiny_bert), str(tmp_path / "new"), "--max-tokens", "100", "--window", "8"])
    assert LongformerModel.from_pretrained(tmp_path / "new").config.attention_window == [8, 8]
    with pytest.raises(SystemExit) as ended:
        run_program(lambda: convert.main([str(tiny_bert), str(tmp_path / "other"), "--window", "7"]))
    assert ended.value.code == 3
    assert capsys.readouterr().err == "A window of 7 does not divide into two halves.\nUse an even window.\n"
