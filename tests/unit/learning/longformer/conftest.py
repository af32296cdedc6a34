"""One thread and a fixed seed for every Longformer test, and each build of the compiled functions in turn."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from postq.learning.longformer import compiled, dropped_sum, native, products
from postq.learning.longformer.compiled import NARROW_BUILDS, load_builds
from tests.unit.learning.longformer.building import build_functions, load_functions

BUILDS = {build.__name__.rpartition(".")[2]: build for build in load_builds()[0] if build.available()}
EMULATES = "_avx2" in BUILDS and "_avx512" not in BUILDS and bool(shutil.which("gcc"))
EMULATED = "_avx512 emulated"
NARROW = {b.__name__.rpartition(".")[2]: b for b in load_builds(NARROW_BUILDS)[0] if b.available()}
EMULATES_NARROW = bool(BUILDS) and bool(shutil.which("gcc"))
NARROW_EMULATED = "_amx emulated"


@pytest.fixture(autouse=True)
def one_thread_and_a_seed() -> Iterator[None]:
    """Small models are many times slower with two threads on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def emulations(shared_folder):
    """One folder for all workers of this run, since to build an emulation takes long."""
    folder = shared_folder / "emulations"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="module", params=list(BUILDS) or ["none"])
def build(request):
    """Puts one of those that this processor runs in charge."""
    with in_charge(BUILDS.get(request.param)) as functions:
        yield functions


@pytest.fixture(scope="module", params=[*BUILDS, *([EMULATED] if EMULATES else [])] or ["none"])
def any_build(request, emulations):
    """The same, and on a processor without AVX-512 that build on an emulation too."""
    functions = BUILDS.get(request.param)
    if request.param == EMULATED:
        functions = emulated("_avx512", emulations)
    with in_charge(functions) as functions:
        yield functions


@pytest.fixture(scope="module", params=[*NARROW, *([NARROW_EMULATED] if EMULATES_NARROW else [])] or ["none"])
def narrow_build(request, emulations):
    """Puts the build for bfloat16 in charge: the processor's, and an emulation of one."""
    functions = NARROW.get(request.param)
    if request.param == NARROW_EMULATED:
        functions = emulated("_amx", emulations)
    if functions is None:
        pytest.skip("no build for bfloat16 runs here")
    with pytest.MonkeyPatch.context() as patch:
        for module in (compiled, native):
            patch.setattr(module, "compiled_narrow", functions)
        native.why_no_narrow.cache_clear()
        assert native.why_no_narrow() is None
        yield functions
    native.why_no_narrow.cache_clear()


def emulated(build, folder):
    """A build on a processor with AVX2 that emulates what it lacks; whoever asks first builds it."""
    file = folder / f"{build}.abi3.so"
    with FileLock(folder / f"{build}.lock"):
        if not file.exists():
            build_functions(file, "-O1", *emulation(build))
    return load_functions(file)


def emulation(build):
    """The flags that this takes."""
    return "-Wno-psabi", "-include", str(Path(__file__).with_name(f"emulated{build}.h"))


@contextmanager
def in_charge(functions):
    if functions is None:
        pytest.skip("no build of the compiled functions runs here")
    with pytest.MonkeyPatch.context() as patch:
        for module in (compiled, native, products, dropped_sum):
            patch.setattr(module, "compiled", functions)
        yield functions
