"""The called form follows its model's weights, and pooling follows its pieces."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from postq.learning.encoder.backbones.loading import load_backbone
from postq.learning.encoder.forward.calling import (
    Batch,
    forward_logits,
    padded_inputs,
    pool_pieces,
    runnable_form,
)
from postq.learning.encoder.steps.workbench import copy_weights, restore_weights
from postq.learning.longformer import FastLongformer
from tests.unit.learning.encoder.material import LABELS

PIECES = tuple(np.array([0, *range(10, 10 + length), 2], dtype=np.int32) for length in (3, 40, 17))
BATCH = Batch(pieces=PIECES)


def load(folder: Path, *, seed: int) -> Any:
    torch.manual_seed(seed)
    return load_backbone(str(folder), labels=LABELS, max_tokens=64).model.eval()


def test_the_packed_form_agrees_with_the_padded_model(tiny_backbone: Path) -> None:
    model = load(tiny_backbone, seed=1)
    packed = runnable_form(model)
    assert isinstance(packed, FastLongformer)
    with torch.no_grad():
        torch.testing.assert_close(
            forward_logits(packed, BATCH), forward_logits(model, BATCH), atol=1e-5, rtol=1e-4
        )


def test_the_packed_form_follows_weights_that_are_written_back(tiny_backbone: Path) -> None:
    model, other = load(tiny_backbone, seed=1), load(tiny_backbone, seed=2)
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
        form = runnable_form(model)
        before = forward_logits(form, BATCH)
        restore_weights(model, copy_weights(other))
        after = forward_logits(form, BATCH)
        expected = forward_logits(runnable_form(other), BATCH)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, expected)


def test_batches_are_padded_on_the_right_to_their_longest_piece() -> None:
    inputs = padded_inputs(BATCH, pad_id=1, device=torch.device("cpu"))
    assert inputs["input_ids"].shape == (3, 42)
    assert inputs["attention_mask"].sum(dim=1).tolist() == [5, 42, 19]
    assert (inputs["input_ids"][0, 5:] == 1).all()
    assert BATCH.tokens == 66


@pytest.mark.parametrize(("pooling", "expected"), [("max", [[3.0], [9.0]]), ("mean", [[2.0], [9.0]])])
def test_pieces_are_pooled_to_documents(pooling: Any, expected: list[list[float]]) -> None:
    logits = torch.tensor([[1.0], [3.0], [9.0]])
    assert pool_pieces(logits, [2, 1], pooling=pooling).tolist() == expected
