"""Which kernel a device gets, and who may say otherwise."""

import pytest
import torch

from postq.errors import DeviceUnavailable, SettingsInvalid
from postq.learning.longformer import accelerate
from postq.learning.longformer.choice import choose_attention, gathered_agrees
from tests.unit.learning.longformer.reference import classifier, documents

CPU = torch.device("cpu")


def choose(asked, device=CPU):
    return choose_attention(asked, device=device, dtype=torch.float32)


def test_a_cpu_gets_banded_blocks_with_the_reason_in_the_log(capsys):
    assert choose("auto").attention == "sdpa"
    line = capsys.readouterr().out
    assert "attention=sdpa" in line
    assert "fastest exact kernel on a CPU" in line


def test_a_device_nobody_tested_gets_the_stock_model():
    assert choose("auto", torch.device("xpu")).attention == "stock"


def test_the_environment_overrides_the_caller(monkeypatch):
    monkeypatch.setenv("POSTQ_ATTENTION", "stock")
    assert choose("sdpa").reason == "asked for by POSTQ_ATTENTION"
    assert accelerate(classifier(), attention="sdpa").choice.attention == "stock"


def test_an_unknown_kernel_is_refused_with_the_known_ones(monkeypatch):
    monkeypatch.setenv("POSTQ_ATTENTION", "quick")
    with pytest.raises(SettingsInvalid, match="'quick' is not an attention kernel") as refusal:
        choose("auto")
    assert "sdpa" in refusal.value.hint


def test_variable_length_kernels_are_refused_without_cuda():
    with pytest.raises(DeviceUnavailable, match="CUDA only"):
        choose("varlen")


def test_the_self_check_compares_a_device_with_the_cpu(monkeypatch):
    assert gathered_agrees(CPU)
    calls = iter([0.0, 1.0])
    monkeypatch.setattr(
        "postq.learning.longformer.gathered.gathered_attention",
        lambda *_, **__: torch.tensor(next(calls)),
    )
    assert not gathered_agrees(CPU)


def test_a_stream_outside_the_fast_kernel_says_so_once(capsys):
    fast, doc = accelerate(classifier()), documents([40])[0]
    with torch.no_grad():
        for _ in range(2):
            fast.forward_packed(doc, [0, 40], global_positions=[0, 7])
    assert capsys.readouterr().out.count("This stream goes through gathered blocks") == 1
