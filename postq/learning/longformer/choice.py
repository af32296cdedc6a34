"""Which attention kernel a model gets on its device, with the reason; `POSTQ_ATTENTION` overrides."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, get_args

import structlog
import torch

from postq.errors import DeviceUnavailable, SettingsInvalid
from postq.learning.longformer.native import why_no_narrow, why_no_native
from postq.learning.longformer.products import packed_on

AttentionName = Literal["auto", "stock", "native", "sdpa", "triton"]
ChosenName = Literal["stock", "native", "sdpa", "triton"]

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The kernel in force and one sentence saying why."""

    attention: ChosenName
    reason: str


def choose_attention(asked: AttentionName, *, device: torch.device, dtype: torch.dtype) -> Choice:
    """Settle `asked` (or `POSTQ_ATTENTION`) for a device and log it.

    Raises SettingsInvalid for an unknown name and DeviceUnavailable for a kernel this device cannot run.
    """
    name, source = _asked(asked)
    if name == "auto":
        choice = _automatic(device, dtype)
    else:
        _check_possible(name, device, dtype)
        choice = Choice(attention=name, reason=f"asked for by {source}")
    _log.info(
        "Chose the Longformer attention",
        attention=choice.attention,
        reason=choice.reason,
        device=str(device),
        dtype=str(dtype).removeprefix("torch."),
        products="packed" if packed_on(device, dtype) else "plain",
        **_bfloat16(choice),
    )
    return choice


def _bfloat16(choice: Choice) -> dict[str, str]:
    """Which kernel serves bfloat16, tried now: a trial within a checkpointed layer would disturb that."""
    if choice.attention != "native":
        return {}
    why_not = why_no_narrow()
    return {"bfloat16": "by AMX" if why_not is None else f"through float32, since {why_not}"}


def _asked(asked: AttentionName) -> tuple[AttentionName, str]:
    forced = os.environ.get("POSTQ_ATTENTION", "").strip().lower()
    for name in get_args(AttentionName):
        if forced == name:
            return name, "POSTQ_ATTENTION"
        if not forced and asked == name:
            return name, "the caller"
    raise SettingsInvalid(
        f"'{forced or asked}' is not an attention kernel.",
        hint=f"Use one of {', '.join(get_args(AttentionName))}.",
    )


def _automatic(device: torch.device, dtype: torch.dtype) -> Choice:
    if device.type == "cpu":
        return _automatic_cpu(dtype)
    if device.type == "cuda":
        return _automatic_cuda(device, dtype)
    if device.type == "mps":
        return _automatic_mps(device)
    return Choice(attention="stock", reason=f"nothing faster was tested on {device.type}")


def _automatic_cpu(dtype: torch.dtype) -> Choice:
    known = dtype in (torch.float32, torch.bfloat16)
    why_not = why_no_native() if known else "the compiled kernel is for float32 and bfloat16"
    if why_not is None:
        return Choice(attention="native", reason="the compiled kernel is the fastest exact one on this CPU")
    return Choice(attention="sdpa", reason=f"banded flash blocks, since {why_not}")


def _automatic_cuda(device: torch.device, dtype: torch.dtype) -> Choice:
    why_not = _why_no_triton(device, dtype)
    if why_not is not None:
        return Choice(attention="sdpa", reason=f"gathered blocks, since {why_not}")
    return Choice(attention="triton", reason="the Triton kernels are the fastest exact ones on this GPU")


def _why_no_triton(device: torch.device, dtype: torch.dtype) -> str | None:
    """Why the Triton kernels cannot run there; None where they can. A CPU has only Triton's interpreter."""
    if find_spec("triton") is None:
        return "Triton is not installed"
    if dtype == torch.float64:
        return "the Triton kernels sum in float32"
    if device.type != "cuda":
        return None if os.environ.get("TRITON_INTERPRET") == "1" else "the Triton kernels are for CUDA"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return "the Triton kernels need compute capability 8.0"
    from postq.learning.longformer.gpu.trial import why_no_kernel

    return why_no_kernel(device)


def _automatic_mps(device: torch.device) -> Choice:
    """SDPA on MPS has been silently wrong in some releases, so it is tried against the CPU first."""
    if gathered_agrees(device):
        return Choice(attention="sdpa", reason="gathered blocks agree with the CPU on this machine")
    return Choice(attention="stock", reason="gathered blocks disagree with the CPU on this machine")


def gathered_agrees(device: torch.device) -> bool:
    """Compare gathered attention on `device` with the CPU on a small random stream."""
    from postq.learning.longformer.gathered import gathered_attention
    from postq.learning.longformer.packing import StreamLimits, pack

    generator = torch.Generator().manual_seed(0)
    parts = [torch.randn(70, 2, 8, generator=generator) for _ in range(3)]
    limits = StreamLimits(vocabulary=10, table=100, padding_id=1)
    answers = []
    for where in (torch.device("cpu"), device):
        batch = pack(torch.full((70,), 5), [0, 41, 70], limits=limits, device=where)
        query, key, value = (part.to(where) for part in parts)
        answers.append(gathered_attention(query, key, value, batch, window=8).cpu())
    return torch.allclose(answers[0], answers[1], atol=1e-4)


def _check_possible(name: ChosenName, device: torch.device, dtype: torch.dtype) -> None:
    if name == "native":
        _check_native(device)
    if name == "triton":
        _check_triton(device, dtype)


def _check_triton(device: torch.device, dtype: torch.dtype) -> None:
    why_not = _why_no_triton(device, dtype)
    if why_not is not None:
        raise DeviceUnavailable(
            f"The attention 'triton' cannot be used: {why_not}.",
            hint="Leave the attention on 'auto', or pick a CUDA device.",
        )


def _check_native(device: torch.device) -> None:
    why_not = (
        why_no_native() if device.type == "cpu" else f"the compiled kernel does not run on {device.type}"
    )
    if why_not is not None:
        raise DeviceUnavailable(
            f"The attention 'native' cannot be used: {why_not}.",
            hint="Leave the attention on 'auto', or install postq anew where there is a C compiler.",
        )
