"""One thread and a fixed seed for every Longformer test, and each build of the compiled functions in turn."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from postq.learning.longformer import compiled, native, products
from postq.learning.longformer.compiled import load_builds
from tests.unit.learning.longformer.building import build_functions, load_functions

BUILDS = {build.__name__.rpartition(".")[2]: build for build in load_builds()[0] if build.available()}
EMULATES = "_avx2" in BUILDS and "_avx512" not in BUILDS and bool(shutil.which("gcc"))
EMULATED = "_avx512 emulated"
EMULATION = Path(__file__).with_name("emulated_avx512.h")


@pytest.fixture(autouse=True)
def one_thread_and_a_seed() -> Iterator[None]:
    """Small models are many times slower with two threads on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=list(BUILDS) or ["none"])
def build(request):
    """Puts one of those that this processor runs in charge."""
    with in_charge(BUILDS.get(request.param)) as functions:
        yield functions


@pytest.fixture(scope="module", params=[*BUILDS, *([EMULATED] if EMULATES else [])] or ["none"])
def any_build(request, tmp_path_factory):
    """The same, and on a processor without AVX-512 that build on an emulation too."""
    functions = BUILDS.get(request.param)
    if request.param == EMULATED:
        functions = emulated(tmp_path_factory.mktemp("emulated"))
    with in_charge(functions) as functions:
        yield functions


def emulated(folder):
    """The build for AVX-512 on a processor with AVX2."""
    file = folder / "_avx512.abi3.so"
    build_functions(file, "-O1", "-Wno-psabi", "-include", str(EMULATION))
    return load_functions(file)


@contextmanager
def in_charge(functions):
    if functions is None:
        pytest.skip("no build of the compiled functions runs here")
    with pytest.MonkeyPatch.context() as patch:
        for module in (compiled, native, products):
            patch.setattr(module, "compiled", functions)
        yield functions
