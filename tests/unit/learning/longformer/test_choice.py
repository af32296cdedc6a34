"""Which kernel a device gets, and who may say otherwise."""

from importlib.util import find_spec

import pytest
import torch

from postq.errors import DeviceUnavailable, SettingsInvalid
from postq.learning.longformer import accelerate
from postq.learning.longformer.choice import choose_attention, gathered_agrees
from postq.learning.longformer.native import why_no_native
from tests.unit.learning.longformer.reference import classifier, configuration, documents

CPU = torch.device("cpu")


def choose(asked, device=CPU, dtype=torch.float32):
    return choose_attention(asked, device=device, dtype=dtype)


def patch_native(monkeypatch, why_not):
    monkeypatch.setattr("postq.learning.longformer.choice.why_no_native", lambda: why_not)


def test_a_cpu_gets_the_compiled_kernel_with_the_reason_in_the_log(monkeypatch, capsys):
    patch_native(monkeypatch, None)
    assert choose("auto").attention == "native"
    line = capsys.readouterr().out
    assert "attention=native" in line
    assert "fastest exact one on this CPU" in line


def test_a_cpu_without_the_compiled_kernel_gets_banded_blocks_and_the_log_says_why(monkeypatch, capsys):
    patch_native(monkeypatch, "the compiled kernel was not built")
    assert choose("auto").attention == "sdpa"
    assert "banded flash blocks, since the compiled kernel was not built" in capsys.readouterr().out


@pytest.mark.parametrize(("dtype", "attention"), [(torch.bfloat16, "native"), (torch.float16, "sdpa")])
def test_of_the_half_precisions_only_float16_goes_through_banded_blocks(monkeypatch, dtype, attention):
    patch_native(monkeypatch, None)
    assert choose("auto", dtype=dtype).attention == attention


@pytest.mark.parametrize(
    ("device", "why"), [("cpu", "it was not built"), ("cuda", "the compiled kernel does not run on cuda")]
)
def test_the_compiled_kernel_is_refused_where_it_cannot_run(monkeypatch, device, why):
    patch_native(monkeypatch, "it was not built")
    with pytest.raises(DeviceUnavailable, match=f"'native' cannot be used: {why}"):
        choose("native", torch.device(device))


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


def test_the_triton_kernels_are_refused_where_they_cannot_run(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr("postq.learning.longformer.choice.find_spec", lambda name: name)
    with pytest.raises(DeviceUnavailable, match="'triton' cannot be used: the Triton kernels are for CUDA"):
        choose("triton")
    with pytest.raises(DeviceUnavailable, match="sum in float32"):
        choose("triton", torch.device("cuda"), torch.float64)
    monkeypatch.setattr("postq.learning.longformer.choice.find_spec", lambda name: None)
    with pytest.raises(DeviceUnavailable, match="Triton is not installed"):
        choose("triton", torch.device("cuda"))


@pytest.mark.parametrize(
    ("capability", "dtype", "installed", "chosen"),
    [
        ((9, 0), torch.float32, True, "triton"),
        ((8, 0), torch.bfloat16, True, "triton"),
        ((7, 5), torch.float32, True, "sdpa"),
        ((9, 0), torch.float64, True, "sdpa"),
        ((9, 0), torch.float32, False, "sdpa"),
    ],
)
def test_a_cuda_device_gets_the_triton_kernels_where_they_run(
    monkeypatch, capability, dtype, installed, chosen
):
    found = {"triton": installed or None}
    if installed and find_spec("triton") is None:
        pytest.skip("Triton is not installed")
    monkeypatch.setattr("postq.learning.longformer.choice.find_spec", found.get)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr("postq.learning.longformer.gpu.trial.why_no_kernel", lambda device: None)
    assert choose("auto", torch.device("cuda"), dtype).attention == chosen


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_where_triton_cannot_start_a_kernel_gathered_blocks_serve(monkeypatch, capsys):
    """As in an image without a C compiler, which Triton builds its launcher with."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    missing = "Triton cannot start a kernel here (RuntimeError: Failed to find C compiler)"
    monkeypatch.setattr("postq.learning.longformer.gpu.trial.why_no_kernel", lambda device: missing)
    assert choose("auto", torch.device("cuda")).attention == "sdpa"
    assert "Failed to find C compiler" in capsys.readouterr().out
    with pytest.raises(DeviceUnavailable, match="'triton' cannot be used: Triton cannot start a kernel"):
        choose("triton", torch.device("cuda"))


def test_the_self_check_compares_a_device_with_the_cpu(monkeypatch):
    assert gathered_agrees(CPU)
    calls = iter([0.0, 1.0])
    monkeypatch.setattr(
        "postq.learning.longformer.gathered.gathered_attention",
        lambda *_, **__: torch.tensor(next(calls)),
    )
    assert not gathered_agrees(CPU)


@pytest.mark.skipif(why_no_native() is not None, reason=str(why_no_native()))
@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_width_that_the_compiled_kernel_does_not_serve_is_told_once(capsys, dropout):
    model, doc = classifier(configuration(width=4, dropout=dropout)), documents([40])[0]
    fast = accelerate(model.train(dropout > 0))
    for _ in range(2):
        fast.forward_packed(doc, [0, 40])
    told = capsys.readouterr().out
    assert told.count("This stream does not go through the compiled kernel") == 1
    assert "not torch.float32 of width 4" in told


def test_a_stream_outside_the_fast_kernel_says_so_once(capsys):
    fast, doc = accelerate(classifier()), documents([40])[0]
    with torch.no_grad():
        for _ in range(2):
            fast.forward_packed(doc, [0, 40], global_positions=[0, 7])
    assert capsys.readouterr().out.count("This stream goes through gathered blocks") == 1
