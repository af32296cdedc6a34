"""The trial that tells whether Triton can start kernels on a device, and why not."""

import torch

from postq.learning.longformer.gpu import trial
from postq.learning.longformer.gpu.trial import why_no_kernel


def test_a_kernel_that_counts_right_is_no_objection(device):
    why_no_kernel.cache_clear()
    assert why_no_kernel(device) is None


def test_what_stood_in_its_way_is_told_in_one_line(device, monkeypatch):
    def start(*_, **__):
        raise RuntimeError("Failed to find C compiler. Please specify via CC.\nmore")

    monkeypatch.setattr(trial, "increase", {(1,): start})
    told = why_no_kernel.__wrapped__(device)
    assert told == (
        "Triton cannot start a kernel here (RuntimeError: Failed to find C compiler. Please specify via CC.)"
    )


def test_wrong_numbers_are_an_objection(device, monkeypatch):
    monkeypatch.setattr(trial, "increase", {(1,): lambda numbers, *_, **__: numbers.fill_(2.0)})
    assert "wrong numbers" in why_no_kernel.__wrapped__(torch.device(device))
