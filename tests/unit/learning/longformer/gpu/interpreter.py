"""Triton's interpreter, mended for bfloat16.

By itself it multiplies the bits of such numbers as integers, and cuts off where a GPU rounds.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import triton.language as tl
from triton.runtime import interpreter


@contextmanager
def mended() -> Iterator[None]:
    """While it lasts, bfloat16 behaves as on a GPU: rounded to the nearest, products summed in float32."""
    builder = interpreter.InterpreterBuilder
    plain, convert = builder.create_dot, interpreter._convert_float

    def create_dot(self, left, right, added, *options):
        if left.dtype.scalar != tl.bfloat16:
            return plain(self, left, right, added, *options)
        product = np.matmul(_numbers(left.data), _numbers(right.data)) + added.data
        return interpreter.TensorHandle(product, added.dtype.scalar)

    def convert_float(given, given_dtype, wanted_dtype, rounding):
        if (given_dtype, wanted_dtype) != (tl.float32, tl.bfloat16):
            return convert(given, given_dtype, wanted_dtype, rounding)
        bits = np.ascontiguousarray(given).view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)

    with (
        patch.object(builder, "create_dot", create_dot),
        patch.object(interpreter, "_convert_float", convert_float),
    ):
        yield


def _numbers(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)
