"""What holds for all Triton kernels."""

import ast
from importlib.resources import files

import pytest

VARYING = {"seed", "tokens", "count", "documents", "programs", "stripes"}
"""Whole numbers that differ from batch to batch."""
KERNELS = [
    pytest.param(function, id=function.name)
    for file in files("postq.learning.longformer.gpu").iterdir()
    if file.name.endswith("_kernels.py")
    for function in ast.parse(file.read_text(encoding="utf-8")).body
    if isinstance(function, ast.FunctionDef) and function.name[0] != "_"
]


def unspecialised(function):
    calls = [decorator for decorator in function.decorator_list if isinstance(decorator, ast.Call)]
    keywords = [keyword for call in calls for keyword in call.keywords if keyword.arg == "do_not_specialize"]
    return {name for keyword in keywords for name in ast.literal_eval(keyword.value)}


@pytest.mark.parametrize("function", KERNELS)
def test_a_batch_of_another_size_is_not_compiled_for(function):
    """Triton compiles anew where a number is 1 or becomes a multiple of 16, unless told not to."""
    varying = {argument.arg for argument in function.args.args} & VARYING
    assert varying <= unspecialised(function)


def test_the_kernels_were_found():
    assert len(KERNELS) > 10
