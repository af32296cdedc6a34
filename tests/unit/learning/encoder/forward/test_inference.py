"""How many tokens share a batch: what is packed counts as it is, what is padded by its longest piece."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from postq.contracts.device import Device
from postq.learning.encoder.backbones.loading import load_backbone
from postq.learning.encoder.forward import inference
from postq.learning.encoder.forward.calling import Batch, pads, scoring_form
from postq.learning.encoder.forward.inference import TokenBudget, document_logits, token_budget
from postq.learning.encoder.tokens.tokeniser import TokenisedText
from postq.learning.longformer import best_token_budget
from tests.unit.learning.encoder.material import LABELS

LENGTHS = (9, 40, 5, 20, 3, 38)


def text(length: int) -> TokenisedText:
    piece = np.array([0, *range(10, 8 + length), 2], dtype=np.int32)
    return TokenisedText(
        pieces=(piece,), tokens_total=length - 2, tokens_seen=length - 2, estimated=False, readable=True
    )


def packing(folder: Path) -> Any:
    return scoring_form(load_backbone(str(folder), labels=LABELS, max_tokens=64).model)


def padding() -> Any:
    config = BertConfig(
        vocab_size=100, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    return scoring_form(BertForSequenceClassification(config))


def batches(
    model: Any, budget: int, monkeypatch: pytest.MonkeyPatch, *lengths: tuple[int, ...]
) -> list[list[int]]:
    """Lengths of the pieces of each batch, the documents coming in one window or those given."""
    windows = [[text(n) for n in window] for window in lengths or [LENGTHS]]
    seen: list[list[int]] = []

    def logits(_: Any, batch: Batch, **how: Any) -> torch.Tensor:
        seen.append([len(piece) for piece in batch.pieces])
        return torch.zeros(len(batch.pieces), 1)

    monkeypatch.setattr(inference, "forward_logits", logits)
    done = document_logits(model, windows, budget=TokenBudget(budget), pooling="max")
    found = sorted(index for indices, _ in done for index in indices)
    assert found == list(range(sum(map(len, windows))))
    return seen


def test_packed_batches_hold_as_many_tokens_as_the_budget(
    tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert batches(packing(tiny_backbone), 98, monkeypatch) == [[40, 38, 20], [9, 5, 3]]


def test_what_fills_no_batch_joins_the_next_window(
    tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = packing(tiny_backbone)
    windows = ((9, 40), (5, 60, 20), (), (3, 38), (7,))
    assert batches(model, 60, monkeypatch, *windows) == [[40, 9], [60], [38, 20], [7, 5, 3]]
    assert batches(model, 1, monkeypatch, *windows) == [[40], [9], [60], [20], [5], [38], [3], [7]]
    assert batches(padding(), 60, monkeypatch, *windows) == [[40], [60], [20, 9, 5], [38], [7, 3]]
    assert batches(model, 60, monkeypatch, ()) == []


def test_a_window_is_drawn_when_those_before_fill_no_batch(
    tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[int] = []

    def windows() -> Iterator[list[TokenisedText]]:
        for number in range(3):
            drawn.append(number)
            yield [text(40), text(30)]

    monkeypatch.setattr(
        inference, "forward_logits", lambda _, batch, **how: torch.zeros(len(batch.pieces), 1)
    )
    found = document_logits(packing(tiny_backbone), windows(), budget=TokenBudget(40), pooling="max")
    assert next(found)[0] == [0]
    assert drawn == [0, 1]  # the first document's logits are read while the second's batch runs
    assert [index for indices, _ in found for index in indices] == [2, 1, 4, 3, 5]


def test_every_call_of_the_model_is_surrounded(tiny_backbone: Path) -> None:
    seen: list[str] = []

    @contextmanager
    def around() -> Iterator[None]:
        seen.append("call")
        yield
        seen.append("called")

    windows = [[text(40), text(30)]]
    done = document_logits(
        packing(tiny_backbone),
        windows,
        budget=TokenBudget(40),
        pooling="max",
        before_batch=lambda: seen.append("before"),
        around_call=around,
    )
    assert [index for indices, _ in done for index in indices] == [0, 1]
    assert seen == ["before", "call", "called"] * 2


def test_padding_counts_towards_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    assert batches(padding(), 98, monkeypatch) == [[40, 38], [20, 9, 5, 3]]
    assert batches(padding(), 79, monkeypatch) == [[40], [38, 20], [9, 5, 3]]


def test_a_document_beyond_the_budget_is_a_batch_of_its_own(
    tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert batches(packing(tiny_backbone), 1, monkeypatch) == [[n] for n in sorted(LENGTHS, reverse=True)]


def test_a_gpu_gets_the_budget_that_was_measured_for_packed_streams(tiny_backbone: Path) -> None:
    cuda, cpu = Device(kind="cuda", index=0), Device(kind="cpu")
    packed, padded = packing(tiny_backbone), padding()
    assert token_budget(packed, cuda, asked=None, divisor=1).tokens == best_token_budget("cuda")
    assert token_budget(packed, cuda, asked=None, divisor=4).tokens == best_token_budget("cuda") // 4
    assert token_budget(padded, cuda, asked=None, divisor=1).tokens == inference.PADDED_TOKENS
    assert token_budget(packed, cuda, asked=500, divisor=1).tokens == 500
    assert token_budget(packed, cpu, asked=None, divisor=1).tokens == inference.ONE_AT_A_TIME


def test_the_stock_path_pads(tiny_backbone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not pads(packing(tiny_backbone))
    monkeypatch.setenv("POSTQ_ATTENTION", "stock")
    assert pads(packing(tiny_backbone))
