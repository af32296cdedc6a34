"""The compiled functions themselves: where they exist, which arrays they refuse, and their products."""

import os
import platform
import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

from postq.learning.longformer import compiled as module
from postq.learning.longformer.compiled import (
    BUILDS,
    NARROW_BUILDS,
    as_array,
    first_available,
    load_builds,
    why_not_compiled,
    why_not_compiled_narrow,
)
from postq.learning.longformer.products import multiply, pack_weight

runs_here = pytest.mark.usefixtures("any_build")

SIZES = st.one_of(st.integers(1, 70), st.sampled_from([191, 192, 193, 400, 800]))


def test_they_were_built_wherever_the_tests_have_a_compiler():
    """A build that fails is no error for a user, who is served by torch then; here it would hide tests."""
    if not os.environ.get("CI") or platform.machine() != "x86_64" or shutil.which("gcc") is None:
        pytest.skip("only where a compiler is known to be")
    builds, broken = load_builds((*BUILDS, *NARROW_BUILDS))
    assert broken is None
    assert len(builds) == len(BUILDS) + len(NARROW_BUILDS)


@pytest.fixture
def imported_without_them(monkeypatch):
    """Imports a copy of the module, where all builds are missing but those given: name → file."""

    def import_copy(present):
        files = {f"{module.__package__}.{name}": file for name, file in present.items()}
        for name in (f"{module.__package__}.{build}" for build in (*BUILDS, *NARROW_BUILDS)):
            monkeypatch.setitem(sys.modules, name, None)
            if name in files:
                monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(sys, "meta_path", [Finder(files), *sys.meta_path])
        spec = spec_from_file_location(module.__name__, module.__file__)
        copy = module_from_spec(spec)
        spec.loader.exec_module(copy)
        return copy

    return import_copy


class Finder:
    """Finds modules in the files it was told."""

    def __init__(self, files):
        self.files = files

    def find_spec(self, name, path=None, target=None):
        return spec_from_file_location(name, self.files[name]) if name in self.files else None


def test_without_them_the_reason_is_that_they_were_not_built(imported_without_them):
    reason = imported_without_them({}).why_not_compiled()
    assert reason == "the compiled kernels were not built when postq was installed"


def test_when_they_cannot_be_loaded_that_is_the_reason(imported_without_them, tmp_path):
    file = tmp_path / "_avx2.abi3.so"
    file.write_text("no library")
    reason = imported_without_them({"_avx2": file}).why_not_compiled()
    assert reason.startswith("the compiled kernels cannot be loaded (")
    assert str(file) in reason


class Build:
    """One that some processor runs or not."""

    def __init__(self, available):
        self.available = lambda: available


def test_the_widest_build_that_the_processor_runs_is_taken():
    wide, narrow, none = Build(available=True), Build(available=True), Build(available=False)
    assert first_available([wide, narrow]) is wide
    assert first_available([none, narrow]) is narrow
    assert first_available([none]) is first_available([]) is None


def test_a_processor_without_the_instructions_is_the_reason(monkeypatch):
    monkeypatch.setattr(module, "compiled", None)
    monkeypatch.setattr(module, "_builds", [Build(available=False)])
    monkeypatch.setattr(module, "_broken", None)
    assert why_not_compiled() == "the compiled kernels need a processor with AVX2 or AVX-512"
    monkeypatch.setattr(module, "compiled_narrow", None)
    monkeypatch.setattr(module, "_narrow_builds", [Build(available=False)])
    assert why_not_compiled_narrow() == "the compiled kernels need a processor with AMX, on Linux"


def test_one_broken_build_does_not_hide_a_whole_one(monkeypatch):
    monkeypatch.setattr(module, "compiled", Build(available=True))
    monkeypatch.setattr(module, "_broken", ImportError("no library"))
    assert why_not_compiled() is None


def laid_out(rows, columns, *, by_rows):
    matrix = torch.randn(rows, columns)
    return matrix if by_rows else matrix.T.contiguous().T


@runs_here
@given(
    rows=SIZES,
    inputs=SIZES,
    outputs=SIZES,
    by_rows=st.booleans(),
    weight_by_rows=st.booleans(),
    biased=st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_products_equal_those_of_float64(rows, inputs, outputs, by_rows, weight_by_rows, biased):
    states = laid_out(rows, inputs, by_rows=by_rows)
    weight = laid_out(outputs, inputs, by_rows=weight_by_rows)
    bias = torch.randn(outputs) if biased else None
    truth = states.double() @ weight.double().T + (0 if bias is None else bias)
    packed = pack_weight(weight)
    found = multiply(states, packed, bias)
    assert (found - truth).norm() <= 1e-6 * truth.norm() + 1e-5
    before = torch.randn(rows, outputs)
    added = multiply(states, packed, out=before.clone(), add=True)
    assert (added - before - states.double() @ weight.double().T).norm() <= 1e-6 * (
        truth.norm() + before.norm()
    ) + 1e-5


@runs_here
def test_long_sums_round_no_worse_than_torchs_product():
    states, weight = torch.randn(256, 3_072), torch.randn(96, 3_072)
    truth = states.double() @ weight.double().T
    plain = (states @ weight.T - truth).norm()
    assert (multiply(states, pack_weight(weight)) - truth).norm() <= 1.2 * plain


@runs_here
@pytest.mark.parametrize("threads", [1, 2, 7])
def test_a_row_is_the_same_to_the_last_bit_in_any_company_and_on_any_number_of_threads(threads):
    states, weight, bias = torch.randn(700, 800), pack_weight(torch.randn(100, 800)), torch.randn(100)
    whole = multiply(states, weight, bias)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert torch.equal(multiply(states, weight, bias), whole)
        assert torch.equal(multiply(states[300:301], weight, bias), whole[300:301])
        assert torch.equal(multiply(states[290:], weight, bias), whole[290:])
    finally:
        torch.set_num_threads(before)


@runs_here
def test_nothing_beyond_the_output_is_written():
    states, weight = torch.randn(17, 40), pack_weight(torch.randn(33, 40))
    room = torch.full((19, 35), 7.0)
    multiply(states, weight, out=room[1:18, 1:34])
    room[1:18, 1:34] = 7.0
    assert (room == 7.0).all()


def attention_arguments(**other):
    """Arguments of `attend`, some of them replaced."""
    given = {name: np.zeros((5, 2, 16), np.float32) for name in ("query", "key", "value", "output")}
    given |= {"lse": np.zeros((5, 2), np.float32), "bounds": (0, 5), "reach": 4, "threads": 1}
    given |= {"dropout": 0.0, "seed": 1}
    return list((given | other).values())


def narrow():
    return np.zeros((5, 2, 8), np.float32)


def endless(tokens):
    """So many tokens in the memory of one."""
    return as_strided(np.zeros((1, 2, 16), np.float32), (tokens, 2, 16), (0, 64, 4))


REFUSED_BY_ATTENTION = {
    "another number format": ({"key": np.zeros((5, 2, 16))}, "array 2 is no float32 array of 3 axes"),
    "fewer tokens": ({"value": np.zeros((4, 2, 16), np.float32)}, "not of one shape"),
    "two axes": ({"query": np.zeros((5, 32), np.float32)}, "array 1 is no float32 array of 3 axes"),
    "columns apart": ({"key": np.zeros((5, 2, 32), np.float32)[:, :, ::2]}, "not of consecutive numbers"),
    "backwards": ({"key": np.zeros((5, 2, 16), np.float32)[::-1]}, "array 2 is .* backwards"),
    "more heads": ({"lse": np.zeros((5, 3), np.float32)}, "not of one shape"),
    "bounds beyond": ({"bounds": (0, 6)}, "grow and stay within the stream"),
    "bounds falling": ({"bounds": (0, 3, 2)}, "grow and stay within the stream"),
    "bounds negative": ({"bounds": (-1, 3)}, "grow and stay within the stream"),
    "half a billion tokens": ({"query": endless(2**29)}, "array 1 is .* too long"),
    "no reach": ({"reach": 0}, "at least 1"),
    "no threads": ({"threads": 0}, "at least 1"),
    "all dropped": ({"dropout": 1.0}, "at least 0 and under 1"),
    "no number": ({"dropout": float("nan")}, "at least 0 and under 1"),
    "narrow": (
        {"query": narrow(), "key": narrow(), "value": narrow(), "output": narrow()},
        "no multiple of the step, or over 128",
    ),
}


@runs_here
@pytest.mark.parametrize("case", REFUSED_BY_ATTENTION)
def test_attention_refuses_arrays_that_do_not_fit_before_it_reads_any(any_build, case):
    other, error = REFUSED_BY_ATTENTION[case]
    with pytest.raises(ValueError, match=error):
        any_build.attend(*attention_arguments(**other))


@runs_here
def test_attention_refuses_an_output_that_may_not_be_written(any_build):
    output = np.zeros((5, 2, 16), np.float32)
    output.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        any_build.attend(*attention_arguments(output=output))


def room(any_build, *, beyond=0):
    """As many floats as 5 outputs of 8 summands take when packed, or more."""
    return as_array(torch.zeros(any_build.panel * 8 + beyond))


def product_arguments(any_build, **other):
    """Arguments of `multiply` of 3 rows, 8 summands and 5 outputs, some of them replaced."""
    given = {
        "states": np.zeros((3, 8), np.float32),
        "packed": room(any_build),
        "bias": np.zeros(5, np.float32),
        "output": np.zeros((3, 5), np.float32),
        "add": False,
        "threads": 1,
    }
    return list((given | other).values())


REFUSED_BY_PRODUCTS = {
    "another number format": ({"states": np.zeros((3, 8))}, "array 1 is no float32 array of 2 axes"),
    "more rows": ({"states": np.zeros((4, 8), np.float32)}, "not as many rows"),
    "other summands": ({"states": np.zeros((3, 9), np.float32)}, "of another size"),
    "more outputs": ({"output": np.zeros((3, 40), np.float32)}, "of another size"),
    "both axes apart": ({"states": np.zeros((6, 16), np.float32)[::2, ::2]}, "no axis of a matrix"),
    "output by columns": ({"output": np.zeros((5, 3), np.float32).T}, "no axis of a matrix"),
    "both bias and output": ({"add": True}, "either to its bias or to the output"),
    "a short bias": ({"bias": np.zeros(4, np.float32)}, "the bias is not one float for each column"),
    "empty": ({"states": np.zeros((0, 8), np.float32)}, "array 1 is .* empty"),
    "no threads": ({"threads": 0}, "at least 1"),
}


@runs_here
@pytest.mark.parametrize("case", REFUSED_BY_PRODUCTS)
def test_products_refuse_matrices_that_do_not_fit_before_they_read_any(any_build, case):
    other, error = REFUSED_BY_PRODUCTS[case]
    with pytest.raises(ValueError, match=error):
        any_build.multiply(*product_arguments(any_build, **other))


@runs_here
def test_products_refuse_a_packed_weight_that_is_not_aligned(any_build):
    with pytest.raises(ValueError, match="not aligned to 64 bytes"):
        any_build.multiply(*product_arguments(any_build, packed=room(any_build, beyond=1)[1:]))


@runs_here
def test_packing_fills_room_of_the_right_size(any_build):
    packed = room(any_build)
    any_build.pack(np.ones((5, 8), np.float32), packed, 1)
    panels = packed.reshape(8, any_build.panel)
    assert panels[:, :5].all()
    assert not panels[:, 5:].any()


@runs_here
@pytest.mark.parametrize("beyond", [-1, 1])
def test_packing_refuses_room_of_another_size(any_build, beyond):
    with pytest.raises(ValueError, match="of another size"):
        any_build.pack(np.ones((5, 8), np.float32), room(any_build, beyond=beyond), 1)
