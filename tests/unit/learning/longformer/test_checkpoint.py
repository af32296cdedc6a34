"""Which checkpoints are taken, and that they come out unchanged."""

import hashlib

import pytest
import torch
from transformers import LongformerForSequenceClassification

from postq.errors import BundleUnusable
from postq.learning.longformer import accelerate
from tests.unit.learning.longformer.reference import classifier, configuration, documents


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_weight_that_is_not_finite_is_named(bad):
    model = classifier()
    with torch.no_grad():
        model.longformer.encoder.layer[1].output.dense.weight[0, 0] = bad
    with pytest.raises(BundleUnusable, match=r"'longformer\.encoder\.layer\.1\.output\.dense\.weight'"):
        accelerate(model)


@pytest.mark.parametrize(
    ("windows", "message"),
    [([8, 7], "Layer 1 has an attention window of 7"), ([8], "2 layers but 1 attention windows")],
)
def test_windows_that_do_not_fit_are_refused(windows, message):
    model = classifier()
    model.config.attention_window = windows
    with pytest.raises(BundleUnusable, match=message):
        accelerate(model)


def test_a_window_changed_after_loading_is_refused_since_stock_ignores_it():
    model = classifier()
    model.config.attention_window = [8, 32]
    with pytest.raises(BundleUnusable, match="Layer 1 was built for a window of 16"):
        accelerate(model)


@pytest.mark.parametrize(
    ("heads", "message"), [(3, "Hidden size 8 does not divide among 3"), (4, "Layer 0 has 2 heads")]
)
def test_a_head_count_that_does_not_fit_is_refused(heads, message):
    model = classifier()
    model.config.num_attention_heads = heads
    with pytest.raises(BundleUnusable, match=message):
        accelerate(model)


def test_the_wrapper_shares_every_parameter_and_adds_none():
    model = classifier()
    fast = accelerate(model)
    ours, theirs = dict(fast.named_parameters()), dict(model.named_parameters())
    assert {name.removeprefix("stock.") for name in ours} == set(theirs)
    assert all(ours[f"stock.{name}"] is weight for name, weight in theirs.items())


def digests(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}


def test_a_checkpoint_saves_unchanged_after_a_forward_and_loads_again(tmp_path):
    model, doc = classifier(configuration(windows=(16, 8))), documents([90])[0]
    model.save_pretrained(tmp_path / "before")
    fast = accelerate(model)
    with torch.no_grad():
        answer = fast.forward_packed(doc, [0, 90])
    fast.stock.save_pretrained(tmp_path / "after")
    assert digests(tmp_path / "before") == digests(tmp_path / "after")
    again = accelerate(LongformerForSequenceClassification.from_pretrained(tmp_path / "after"))
    with torch.no_grad():
        # Not bitwise: the file is mapped, and the matrix kernel rounds by where its operands happen to lie.
        torch.testing.assert_close(again.forward_packed(doc, [0, 90]), answer, atol=1e-6, rtol=0.0)


def test_layers_that_are_not_plain_linear_fall_back_to_stock():
    class Adapted(torch.nn.Linear):
        """Stands for an adapter: the same weights, another forward."""

        def forward(self, states):
            return super().forward(states) + 1.0

    model, doc = classifier(), documents([30])[0]
    inner = model.longformer.encoder.layer[0].intermediate
    adapted = Adapted(*reversed(inner.dense.weight.shape))
    adapted.load_state_dict(inner.dense.state_dict())
    inner.dense = adapted
    fast = accelerate(model)
    assert fast.choice.attention == "stock"
    with torch.no_grad():
        torch.testing.assert_close(fast.forward_packed(doc, [0, 30]), model(doc[None]).logits)
