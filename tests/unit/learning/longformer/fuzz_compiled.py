"""Random calls of one build of the compiled functions.

`python -m tests.unit.learning.longformer.fuzz_compiled FILE SEED CASES`, from the checkout.
"""

import sys

import numpy as np

from tests.unit.learning.longformer.building import build_name, load_functions


def floats(draw, *shape):
    """Random floats in memory of exactly their size."""
    return draw.standard_normal(shape, dtype=np.float32)


def aligned(count):
    """Room for `count` floats that begins where a packed weight has to, with nothing behind it."""
    room = np.empty(4 * count + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + 4 * count].view(np.float32)


def numbers(draw, *shape):
    """The bits of as many bfloat16 numbers."""
    return (floats(draw, *shape).view(np.uint32) >> 16).astype(np.int16)


def attend(functions, draw, *, made=floats, step=16):
    """One stream of random documents, forward and backward."""
    lengths = [int(draw.choice([1, 2, 3, draw.integers(1, 40), draw.integers(1, 1_700)])) for _ in range(3)]
    bounds = tuple(np.cumsum([0, *lengths]).tolist())
    shape = bounds[-1], int(draw.integers(1, 4)), step * int(draw.integers(1, 128 // step + 1))
    reach = int(draw.choice([1, 2, 8, draw.integers(1, 600), 5_000]))
    parts = [made(draw, *shape) for _ in range(3)]
    if draw.integers(2):
        parts = list(np.moveaxis(made(draw, shape[0], 3, *shape[1:]), 1, 0))
    output, lse = np.zeros(shape, parts[0].dtype), np.zeros(shape[:2], np.float32)
    call = bounds, reach, 2, float(draw.choice([0.0, 0.1, 0.9])), int(draw.integers(1 << 62))
    functions.attend(*parts, output, lse, *call)
    gradients = [np.zeros(shape, np.float32) for _ in range(3)]
    functions.attend_backward(*parts, output, lse, made(draw, *shape), *gradients, *call)
    assert all(np.isfinite(found).all() for found in (lse, *gradients))


def multiply(functions, draw):
    """One product of random size, each factor by rows or by columns."""
    rows, inputs, outputs = (
        int(draw.choice([1, draw.integers(1, 40), draw.integers(1, 900)])) for _ in range(3)
    )
    states, weight = floats(draw, rows, inputs), floats(draw, outputs, inputs)
    bias = floats(draw, outputs) if draw.integers(2) else None
    if draw.integers(2):
        states = np.ascontiguousarray(states.T).T
    if draw.integers(2):
        weight = np.ascontiguousarray(weight.T).T
    packed, output = (
        aligned(-(-outputs // functions.panel) * functions.panel * inputs),
        np.empty((rows, outputs), np.float32),
    )
    functions.pack(weight, packed, 2)
    functions.multiply(states, packed, bias, output, False, 2)
    wanted = states.astype(np.float64) @ weight.astype(np.float64).T + (0 if bias is None else bias)
    assert np.abs(output - wanted).max() < 1e-3


def drop(functions, draw):
    """Dropout of a random number of numbers of either kind, in memory of exactly their size."""
    count = int(draw.choice([1, draw.integers(1, 70), draw.integers(1, 70_000)]))
    made = [numbers, floats][draw.integers(2)]
    added = floats(draw, count) if draw.integers(2) else None
    output = np.empty(count, [np.int16, np.float32][draw.integers(2)])
    functions.drop(made(draw, count), added, output, 0.3, int(draw.integers(1 << 62)), 2)


def main():
    """Run the cases; a sanitizer ends the process at the first fault."""
    file, seed, cases = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    functions, draw = load_functions(file), np.random.default_rng(seed)
    for _ in range(cases):
        if build_name(file) == "_amx":
            attend(functions, draw, made=numbers, step=32)
        else:
            attend(functions, draw)
            multiply(functions, draw)
            drop(functions, draw)
    sys.stdout.write("no fault\n")


if __name__ == "__main__":
    main()
