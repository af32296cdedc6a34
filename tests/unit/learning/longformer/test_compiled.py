"""The compiled functions themselves: where they exist, which arrays they refuse, and their products."""

import os
import platform
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided

from postq.learning.longformer import compiled as module
from postq.learning.longformer.compiled import as_array, compiled, takes, why_not_compiled
from postq.learning.longformer.products import multiply, pack_weight

runs_here = pytest.mark.skipif(why_not_compiled() is not None, reason=str(why_not_compiled()))

SIZES = st.one_of(st.integers(1, 70), st.sampled_from([191, 192, 193, 400, 800]))


def test_they_were_built_wherever_the_tests_have_a_compiler():
    """A build that fails is no error for a user, who is served by torch then; here it would hide tests."""
    if not os.environ.get("CI") or platform.machine() != "x86_64" or shutil.which("gcc") is None:
        pytest.skip("only where a compiler is known to be")
    assert compiled is not None


MISSING = """
import sys
sys.modules["postq.learning.longformer._compiled"] = None
"""
BROKEN = """
import sys
from importlib.util import spec_from_file_location

class Finder:
    def find_spec(name, path=None, target=None):
        return spec_from_file_location(name, sys.argv[1]) if name.endswith("._compiled") else None

sys.meta_path.insert(0, Finder)
"""
ASK = """
from postq.learning.longformer.compiled import why_not_compiled
print(why_not_compiled())
"""


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        (MISSING, "the compiled kernels were not built when postq was installed\n"),
        (BROKEN, "the compiled kernels cannot be loaded ("),
    ],
    ids=["missing", "broken"],
)
def test_without_them_the_reason_is_that_they_were_not_built_or_cannot_be_loaded(tmp_path, state, reason):
    file = tmp_path / "_compiled.abi3.so"
    file.write_text("no library")
    asked = [sys.executable, "-c", state + ASK, file]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(reason)


@runs_here
def test_a_processor_without_the_instructions_is_the_reason(monkeypatch):
    class Elsewhere:
        @staticmethod
        def available():
            return False

    monkeypatch.setattr(module, "compiled", Elsewhere)
    assert why_not_compiled() == "the compiled kernels need a processor with AVX-512"


@pytest.mark.parametrize(
    ("part", "taken"),
    [
        (torch.empty(4), True),
        (torch.empty(4, dtype=torch.float64), False),
        (torch.empty(4, dtype=torch.bfloat16), False),
        (torch.empty(4, device="meta"), False),
    ],
)
def test_they_take_float32_on_the_cpu(part, taken):
    assert takes(part) == taken


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
    "columns apart": ({"key": np.zeros((5, 2, 32), np.float32)[:, :, ::2]}, "not of consecutive floats"),
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
        "no multiple of 16 up to 128",
    ),
}


@runs_here
@pytest.mark.parametrize("case", REFUSED_BY_ATTENTION)
def test_attention_refuses_arrays_that_do_not_fit_before_it_reads_any(case):
    other, error = REFUSED_BY_ATTENTION[case]
    with pytest.raises(ValueError, match=error):
        compiled.attend(*attention_arguments(**other))


@runs_here
def test_attention_refuses_an_output_that_may_not_be_written():
    output = np.zeros((5, 2, 16), np.float32)
    output.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        compiled.attend(*attention_arguments(output=output))


def product_arguments(**other):
    """Arguments of `multiply` of 3 rows, 8 summands and 5 outputs, some of them replaced."""
    given = {
        "states": np.zeros((3, 8), np.float32),
        "packed": as_array(torch.zeros(32 * 8)),
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
    "not aligned": ({"packed": as_array(torch.zeros(32 * 8 + 1))[1:]}, "not aligned to 64 bytes"),
    "both bias and output": ({"add": True}, "either to its bias or to the output"),
    "a short bias": ({"bias": np.zeros(4, np.float32)}, "the bias is not one float for each column"),
    "empty": ({"states": np.zeros((0, 8), np.float32)}, "array 1 is .* empty"),
    "no threads": ({"threads": 0}, "at least 1"),
}


@runs_here
@pytest.mark.parametrize("case", REFUSED_BY_PRODUCTS)
def test_products_refuse_matrices_that_do_not_fit_before_they_read_any(case):
    other, error = REFUSED_BY_PRODUCTS[case]
    with pytest.raises(ValueError, match=error):
        compiled.multiply(*product_arguments(**other))


@runs_here
@pytest.mark.parametrize(
    ("size", "error"), [(255, "of another size"), (256, None)], ids=["too small", "large enough"]
)
def test_packing_refuses_room_of_another_size(size, error):
    room = as_array(torch.zeros(size))
    if error is None:
        compiled.pack(np.ones((5, 8), np.float32), room, 1)
        assert room.reshape(8, 32)[:, :5].all()
    else:
        with pytest.raises(ValueError, match=error):
            compiled.pack(np.ones((5, 8), np.float32), room, 1)
