"""Whole models through the Triton kernels against stock: logits, gradients, half precision, other streams."""

import copy
import math

import pytest
import torch

from postq.learning.longformer import accelerate
from tests.unit.learning.longformer.reference import (
    alone,
    assert_same_gradients,
    classifier,
    configuration,
    documents,
    gradients,
    offsets,
)

LENGTHS = [1, 30, 140, 2]


def model_on(device, **options):
    return classifier(configuration(windows=(64, 32, 64), heads=2, width=16, **options)).to(device)


def packed(model, docs):
    fast = accelerate(model, attention="triton")
    return fast.forward_packed(torch.cat(docs), offsets([len(doc) for doc in docs]))


def stock(model, docs):
    return alone(model, [doc.to(model.device) for doc in docs])


def test_logits_and_gradients_equal_stock(device):
    model, docs = model_on(device), documents(LENGTHS)
    weights = torch.randn(len(LENGTHS), 3, device=device)
    found, wanted = packed(model, docs), stock(model, docs)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0.0)
    assert_same_gradients(gradients(model, found, weights), gradients(model, wanted, weights))


@pytest.mark.parametrize("activation", ["relu", "gelu_new"])
def test_other_activations_are_kept(device, activation):
    model, docs = model_on(device, activation=activation), documents([50, 9])
    weights = torch.randn(2, 3, device=device)
    torch.testing.assert_close(packed(model, docs), stock(model, docs), atol=1e-4, rtol=0.0)
    ours = gradients(model, packed(model, docs), weights)
    assert_same_gradients(ours, gradients(model, stock(model, docs), weights))


def test_several_global_tokens_and_odd_head_widths_go_through_gathered_blocks_and_say_so(device, capsys):
    model, doc = model_on(device), documents([200])[0]
    marks = torch.zeros(1, 200, dtype=torch.long, device=device)
    marks[0, [3, 77, 78]] = 1
    odd = classifier(configuration(windows=(16,), heads=2, width=12)).to(device)
    with torch.no_grad():
        fast = accelerate(model, attention="triton")
        found = fast.forward_packed(doc, [0, 200], global_positions=[3, 77, 78])
        wanted = model(doc[None].to(device), global_attention_mask=marks).logits
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0.0)
        torch.testing.assert_close(packed(odd, [doc]), stock(odd, [doc]), atol=1e-4, rtol=0.0)
    assert "This stream goes through gathered blocks" in capsys.readouterr().out


def test_checkpointed_layers_give_the_same_gradients(device):
    model, docs = model_on(device).train(), documents([40, 9])
    weights = torch.randn(2, 3, device=device)
    plain = gradients(model, packed(model, docs), weights)
    for layer in model.longformer.encoder.layer:
        layer.gradient_checkpointing = True
    assert_same_gradients(gradients(model, packed(model, docs), weights), plain)


def test_dropout_everywhere_leaves_every_weight_a_gradient(device):
    model, docs = model_on(device, dropout=0.1).train(), documents([20, 3])
    answer = packed(model, docs)
    assert not torch.equal(answer, packed(model, docs))
    answer.sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters())


def flat(found):
    return torch.cat([part.float().flatten() for part in found.values()])


@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_gradients_are_as_near_to_float32_as_stocks(device, autocast):
    """Over several models, since the errors of one are a matter of luck by a factor of two."""
    ratios = []
    for seed in range(3):
        torch.manual_seed(seed)
        model, docs = model_on(device), documents([1, 20, 70])
        weights = torch.randn(3, 3, device=device)
        truth = flat(gradients(model, stock(model, docs), weights))
        narrow = model if autocast else copy.deepcopy(model).bfloat16()
        errors = []
        for run in (packed, stock):
            with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
                answer = run(narrow, docs)
            errors.append(float((flat(gradients(narrow, answer.float(), weights)) - truth).norm()))
        ratios.append(math.log(errors[0] / errors[1]))
    assert math.exp(sum(ratios) / len(ratios)) <= 1.4


def test_weights_changed_behind_torchs_back_are_seen(device):
    """A fused optimizer moves no version counter."""
    model, docs = model_on(device).bfloat16(), documents([30])
    fast = accelerate(model, attention="triton")
    bounds = offsets([30])
    with torch.no_grad():
        before = fast.forward_packed(docs[0], bounds)
        for weight in model.parameters():
            weight.data.mul_(1.5)
        after = fast.forward_packed(docs[0], bounds)
    assert not torch.equal(before, after)
    torch.testing.assert_close(after.float(), stock(model, docs).float(), atol=0.1, rtol=0.1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parameters_put_in_place_of_others_are_seen(device, dtype):
    model, docs = model_on(device).to(dtype), documents([30])
    fast = accelerate(model, attention="triton")
    with torch.no_grad():
        before = fast.forward_packed(docs[0], [0, 30])
        changed = {name: weight * 1.5 for name, weight in model.state_dict().items()}
        model.load_state_dict(changed, assign=True)
        after = fast.forward_packed(docs[0], [0, 30])
    assert not torch.equal(before, after)
    near = 1e-3 if dtype == torch.float32 else 0.3
    torch.testing.assert_close(after.float(), stock(model, docs).float(), atol=near, rtol=near)


def test_kept_weights_are_narrowed_once_and_anew_when_told(device):
    model, docs = model_on(device).bfloat16(), documents([30])
    fast = accelerate(model, attention="triton").keep_packed()
    with torch.inference_mode():
        before = fast.forward_packed(docs[0], [0, 30])
    with torch.no_grad():
        model.longformer.encoder.layer[0].attention.self.value.weight.data.mul_(3.0)
        assert torch.equal(before, fast.forward_packed(docs[0], [0, 30]))
        fast.forget()
        assert not torch.equal(before, fast.forward_packed(docs[0], [0, 30]))


def test_kept_weights_are_narrowed_anew_after_a_change_in_place(device):
    model, docs = model_on(device).bfloat16(), documents([30])
    fast = accelerate(model, attention="triton").keep_packed()
    with torch.no_grad():
        before = fast.forward_packed(docs[0], [0, 30])
        model.load_state_dict({name: weight * 1.5 for name, weight in model.state_dict().items()})
        after = fast.forward_packed(docs[0], [0, 30])
        fast.forget()
        assert torch.equal(after, fast.forward_packed(docs[0], [0, 30]))
    assert not torch.equal(before, after)


def test_scoring_in_inference_mode_leaves_training_possible(device):
    model, docs = model_on(device), documents([30])
    fast = accelerate(model, attention="triton")
    with torch.inference_mode():
        fast.forward_packed(docs[0], [0, 30])
    fast.forward_packed(docs[0], [0, 30]).sum().backward()
    assert model.classifier.dense.weight.grad is not None


@pytest.mark.parametrize("run", ["hidden_packed", "first_states_packed"])
def test_kernels_are_started_on_the_device_of_the_tensors(device, run, monkeypatch):
    model, docs = model_on(device), documents([30])
    fast, asked, real = accelerate(model, attention="triton"), [], torch.cuda.device_of

    def device_of(tensor):
        asked.append(tensor.device)
        return real(tensor)

    monkeypatch.setattr(torch.cuda, "device_of", device_of)
    getattr(fast, run)(docs[0], [0, 30])
    assert [place.type for place in asked] == [device.type]
