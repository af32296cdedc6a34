"""Any encoder loads, none that is broken does, and every refusal says what is wrong."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoTokenizer,
    BigBirdConfig,
    ConvBertConfig,
    DebertaV2Config,
    DebertaV2Model,
    FNetConfig,
    LEDConfig,
    LEDModel,
    ModernBertConfig,
    ModernBertModel,
    RobertaConfig,
    RobertaModel,
    RoFormerConfig,
    RoFormerModel,
)

from postq.errors import BundleUnusable
from postq.learning.encoder.backbones.fit import check_config
from postq.learning.encoder.backbones.loading import Backbone, load_backbone, load_classifier
from postq.learning.encoder.backbones.positions import (
    extend_positions,
    find_position_table,
    position_capacity,
)
from postq.learning.encoder.forward.calling import Batch, forward_logits, runnable_form
from postq.learning.encoder.tokens.tokeniser import TextTokeniser
from tests.unit.learning.encoder.material import FILLER, LABELS, save_wordpiece

TEXTS = ["court held", "the motion of the party denied by order of the judge " * 3, "law"]


def load(source: Path | str, **options: Any) -> Backbone:
    torch.manual_seed(3)
    return load_backbone(str(source), **{"labels": LABELS, "max_tokens": 32, **options})


def logits_of(backbone: Backbone, texts: list[str], *, max_tokens: int = 32) -> torch.Tensor:
    tokeniser = TextTokeniser(backbone.tokenizer, max_tokens=max_tokens, piece_tokens=backbone.piece_tokens)
    pieces = tuple(piece for text in tokeniser.encode(texts) for piece in text.pieces)
    with torch.no_grad():
        return forward_logits(runnable_form(backbone.model.eval()), Batch(pieces=pieces))


@pytest.fixture(scope="session")
def tiny_roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("roberta")
    save_wordpiece(folder, FILLER, max_tokens=32)
    config = RobertaConfig(
        vocab_size=len(FILLER) + 5,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=33,
        pad_token_id=0,
    )
    RobertaModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_modernbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("modernbert")
    save_wordpiece(folder, FILLER, max_tokens=64)
    config = ModernBertConfig(
        vocab_size=len(FILLER) + 5,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        pad_token_id=0,
        cls_token_id=2,
        sep_token_id=3,
        bos_token_id=2,
        eos_token_id=3,
        local_attention=16,
    )
    ModernBertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_led(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("led")
    save_wordpiece(folder, FILLER, max_tokens=64)
    config = LEDConfig(
        vocab_size=len(FILLER) + 5,
        d_model=32,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_encoder_position_embeddings=64,
        max_decoder_position_embeddings=64,
        attention_window=[8, 8],
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
        decoder_start_token_id=3,
        init_std=0.3,
    )
    torch.manual_seed(2)
    LEDModel(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["backbone", "bert", "roberta", "modernbert", "led"])
def test_any_encoder_gives_each_text_the_same_logits_alone_and_in_a_batch(
    kind: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(f"tiny_{kind}")
    backbone = load(folder)
    together = logits_of(backbone, TEXTS)
    alone = torch.cat([logits_of(backbone, [text]) for text in TEXTS])
    assert together.shape == (3, len(LABELS))
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_an_led_encoder_becomes_a_longformer_with_equal_hidden_states(tiny_led: Path) -> None:
    led: Any = LEDModel.from_pretrained(tiny_led).eval()
    longformer: Any = load(tiny_led).model.eval()
    ids = torch.randint(5, len(FILLER) + 5, (2, 40), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 25:] = 0
    ids = ids * mask
    glance = torch.zeros_like(ids)
    glance[:, 0] = 1
    inputs = {"attention_mask": mask, "global_attention_mask": glance}
    with torch.no_grad():
        expected = led.encoder(ids, **inputs).last_hidden_state
        found = longformer.longformer(ids, **inputs).last_hidden_state
    assert float((expected - found)[mask.bool()].abs().max()) < 1e-5
    assert expected[mask.bool()].std() > 0.1


def test_a_written_led_classifier_is_an_ordinary_longformer(tiny_led: Path, tmp_path: Path) -> None:
    backbone = load(tiny_led)
    model: Any = backbone.model
    model.save_pretrained(tmp_path)
    backbone.tokenizer.save_pretrained(tmp_path)
    again = load_classifier(tmp_path, labels=LABELS)
    torch.testing.assert_close(logits_of(again, TEXTS), logits_of(backbone, TEXTS))


@pytest.mark.parametrize(
    ("kind", "capacity"), [("backbone", 128), ("bert", 32), ("roberta", 32), ("modernbert", 64), ("led", 64)]
)
def test_the_capacity_is_the_longest_text_that_runs(
    kind: str, capacity: int, request: pytest.FixtureRequest
) -> None:
    backbone = load(request.getfixturevalue(f"tiny_{kind}"))
    assert position_capacity(backbone.model) == capacity
    assert torch.isfinite(logits_of(backbone, ["court " * 500], max_tokens=capacity)).all()


@pytest.mark.parametrize("kind", ["backbone", "bert", "roberta", "modernbert", "led"])
def test_longer_tables_read_longer_texts_and_change_no_short_one(
    kind: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(f"tiny_{kind}")
    plain, longer = load(folder), load(folder, max_tokens=300, extend=True)
    torch.testing.assert_close(logits_of(longer, TEXTS), logits_of(plain, TEXTS), rtol=1e-5, atol=1e-6)
    assert position_capacity(longer.model) >= 300
    assert torch.isfinite(logits_of(longer, ["court motion " * 300], max_tokens=300)).all()


def test_extended_rows_repeat_the_learned_ones_from_the_first_position(tiny_backbone: Path) -> None:
    model = load(tiny_backbone).model
    before = find_position_table(model)
    assert before is not None
    learned = before.table.weight.detach()[before.offset :].clone()
    assert extend_positions(model, tokens=300)
    after = find_position_table(model)
    assert after is not None
    rows = after.table.weight.detach()[after.offset :]
    assert torch.equal(rows[:128], learned)
    assert torch.equal(rows[128:256], learned)
    assert torch.equal(rows[256:], learned[:44])
    assert not extend_positions(model, tokens=300)


SMALL = {
    "vocab_size": 20,
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 32,
}


@pytest.mark.parametrize(
    "model",
    [
        lambda: DebertaV2Model(
            DebertaV2Config(**SMALL, relative_attention=True, position_biased_input=False)
        ),
        lambda: RoFormerModel(RoFormerConfig(**SMALL)),
    ],
    ids=["relative to a limit", "a table that is computed"],
)
def test_positions_that_are_not_a_learned_table_are_not_extended(model: Callable[[], Any]) -> None:
    made = model()
    with pytest.raises(BundleUnusable, match=r"positions of a .* model cannot be extended") as refused:
        extend_positions(made, tokens=64)
    assert "chunk" in refused.value.hint
    assert made.config.max_position_embeddings == 32
    assert not extend_positions(made, tokens=32)


@pytest.mark.parametrize(("stated", "capacity"), [(512, 512), (-1, 2**31 - 1), (None, 2**31 - 1)])
def test_without_a_table_a_model_takes_what_its_config_states(stated: int | None, capacity: int) -> None:
    model = torch.nn.Module()
    model.config = SimpleNamespace(max_position_embeddings=stated)  # type: ignore[assignment]
    assert position_capacity(model) == capacity


@pytest.mark.parametrize(
    "config", [BigBirdConfig(), FNetConfig(), ConvBertConfig()], ids=lambda one: one.model_type
)
def test_a_model_whose_scores_depend_on_other_documents_is_refused(config: Any) -> None:
    with pytest.raises(BundleUnusable, match="cannot be used"):
        check_config(config)


def test_a_big_bird_with_full_attention_is_steady() -> None:
    check_config(BigBirdConfig(attention_type="original_full"))


def test_an_extended_model_is_saved_and_loaded_with_its_longer_table(
    tiny_backbone: Path, tmp_path: Path
) -> None:
    backbone = load(tiny_backbone, max_tokens=300, extend=True)
    model: Any = backbone.model
    model.save_pretrained(tmp_path)
    backbone.tokenizer.save_pretrained(tmp_path)
    again = load_classifier(tmp_path, labels=LABELS)
    assert again.piece_tokens == 300


def test_the_head_is_fresh_and_drawn_from_the_seed(tiny_backbone: Path) -> None:
    first, second = logits_of(load(tiny_backbone), TEXTS), logits_of(load(tiny_backbone), TEXTS)
    torch.manual_seed(99)
    other = load_backbone(str(tiny_backbone), labels=LABELS, max_tokens=32)
    assert torch.equal(first, second)
    assert not torch.equal(first, logits_of(other, TEXTS))


@pytest.fixture
def copied(tiny_backbone: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_backbone, tmp_path / "copy"))


def configure(folder: Path, **changes: Any) -> None:
    settings = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(settings | changes))


def spoil(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def poison(weights: dict[str, torch.Tensor]) -> None:
    weights["encoder.layer.1.output.dense.weight"][0, 0] = float("nan")


def cut_vocabulary(weights: dict[str, torch.Tensor]) -> None:
    name = "embeddings.word_embeddings.weight"
    weights[name] = weights[name][:50].clone()


def lose_a_layer(weights: dict[str, torch.Tensor]) -> None:
    for name in [name for name in weights if name.startswith("encoder.layer.1.attention")]:
        del weights[name]


def leave_ids_out(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    words = content["model"]["vocab"]
    words[max(words, key=words.__getitem__)] = 5_000
    (folder / "tokenizer.json").write_text(json.dumps(content))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "odd window": (lambda f: configure(f, attention_window=[16, 15]), "window of 15 does not divide"),
    "window per layer": (lambda f: configure(f, attention_window=[16]), "1 attention windows for 2 layers"),
    "heads": (lambda f: configure(f, num_attention_heads=3), "3 attention heads, which do not divide"),
    "NaN weight": (lambda f: spoil(f, poison), "encoder.layer.1.output.dense.weight' holds NaN"),
    "missing weights": (lambda f: spoil(f, lose_a_layer), "weights of .* are missing"),
    "other shapes": (lambda f: configure(f, intermediate_size=48), "have another shape"),
    "small vocabulary": (
        lambda f: (configure(f, vocab_size=50), spoil(f, cut_vocabulary)),
        "tokenizer gives ids up to .* embedding table has 50 rows",
    ),
    "ids left out": (leave_ids_out, "tokenizer gives ids up to 5000, but the embedding table has"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no safetensors"),
    "cut weights": (
        lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:5000]),
        "cannot be loaded",
    ),
    "no config": (lambda f: (f / "config.json").unlink(), "no config.json"),
    "broken config": (lambda f: (f / "config.json").write_text("{"), "cannot be loaded"),
    "no tokenizer": (
        lambda f: [(f / name).unlink() for name in ("tokenizer.json", "tokenizer_config.json")],
        "tokenizer knows no words",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_backbone_is_refused_with_its_reason(case: str, copied: Path) -> None:
    damage, reason = BROKEN[case]
    damage(copied)
    with pytest.raises(BundleUnusable, match=reason) as refused:
        load(copied)
    assert refused.value.hint


def test_pickled_weights_are_never_loaded(copied: Path) -> None:
    torch.save(load_file(copied / "model.safetensors"), copied / "pytorch_model.bin")
    (copied / "model.safetensors").unlink()
    with pytest.raises(BundleUnusable, match="no safetensors"):
        load(copied)


def test_code_of_the_model_s_own_is_never_run(copied: Path) -> None:
    (copied / "custom.py").write_text("raise SystemExit('ran')\n")
    configure(copied, model_type="custom", auto_map={"AutoConfig": "custom.Config"})
    with pytest.raises(BundleUnusable):
        load(copied)


def test_too_few_positions_are_refused_unless_the_text_is_read_in_chunks(tiny_bert: Path) -> None:
    with pytest.raises(BundleUnusable, match="positions for 32 tokens, fewer than the 512"):
        load(tiny_bert, max_tokens=512)
    assert load(tiny_bert, max_tokens=512, chunked=True).piece_tokens == 32


@pytest.mark.parametrize("source", ["./nowhere", "../nowhere/else", "a/b/c"])
def test_a_folder_that_does_not_exist_is_named(source: str) -> None:
    with pytest.raises(BundleUnusable, match="There is no folder"):
        load(source)


def test_an_unreachable_hub_is_named_as_such_in_one_sentence() -> None:
    with pytest.raises(BundleUnusable, match="could not be fetched from the Hub") as refused:
        load("nobody/nothing")
    assert "Check" not in refused.value.message
    assert "offline mode" not in refused.value.message


def test_a_classifier_of_other_labels_is_refused(tiny_backbone: Path, tmp_path: Path) -> None:
    backbone = load(tiny_backbone)
    model: Any = backbone.model
    model.save_pretrained(tmp_path)
    backbone.tokenizer.save_pretrained(tmp_path)
    for labels in (LABELS[:2], LABELS[::-1]):
        with pytest.raises(BundleUnusable, match="labels, and not the bundle's"):
            load_classifier(tmp_path, labels=labels)


def test_the_tokenizer_of_a_backbone_is_its_own(tiny_backbone: Path) -> None:
    ours, plain = load(tiny_backbone).tokenizer, AutoTokenizer.from_pretrained(tiny_backbone)
    assert np.array_equal(ours(TEXTS[0])["input_ids"], plain(TEXTS[0])["input_ids"])
