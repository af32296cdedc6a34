"""The compiled functions, built with the address and undefined-behaviour sanitizers, over random calls."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.learning.longformer.building import build_functions
from tests.unit.learning.longformer.conftest import BUILDS, emulation

ROOT = Path(__file__).parents[4]
FUZZER = "tests.unit.learning.longformer.fuzz_compiled"


@pytest.fixture(scope="module")
def sanitizer():
    """The address sanitizer's library, which has to be there before Python is."""
    try:
        asked = subprocess.run(
            ["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
        )
    except FileNotFoundError:
        pytest.skip("gcc is not installed")
    library = asked.stdout.strip()
    if not Path(library).is_absolute():
        pytest.skip("gcc has no address sanitizer here")
    return library


BUILT = [*BUILDS, *(["_amx"] if BUILDS else [])]
"""That for bfloat16 on an emulation, which no other build of a processor with AMX needs to be."""


@pytest.fixture(scope="module", params=BUILT or ["none"])
def sanitized(request, sanitizer, tmp_path_factory):
    del sanitizer
    if not BUILT:
        pytest.skip("no build of the compiled functions runs here")
    file = tmp_path_factory.mktemp("sanitized") / f"{request.param}.abi3.so"
    strict = ["-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    build_functions(file, "-Og", "-g1", *strict, *([] if request.param in BUILDS else emulation("_amx")))
    return file


@pytest.mark.slow
def test_no_call_reads_or_writes_beyond_its_arrays(sanitizer, sanitized):
    environment = {**os.environ, "LD_PRELOAD": sanitizer, "ASAN_OPTIONS": "detect_leaks=0"}
    done = subprocess.run(
        [sys.executable, "-m", FUZZER, sanitized, "1", "60"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    assert done.stdout == "no fault\n"
