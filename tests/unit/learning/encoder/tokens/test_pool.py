"""Tokenising processes: the tokens of one process, in order, and nothing left behind."""

import errno
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from transformers import AutoTokenizer

from postq.contracts.device import Device
from postq.errors import SettingsInvalid, TokeniserLost
from postq.learning.encoder.tokens import pool as pool_module
from postq.learning.encoder.tokens.encoding import encode_each, from_chunk, to_chunk
from postq.learning.encoder.tokens.pool import TokeniserPool, chunks_of, wanted_processes
from postq.learning.encoder.tokens.tokeniser import TextTokeniser, TokenisedText
from tests.unit.learning.encoder.material import CPU, opinions
from tests.unit.learning.encoder.tokens.pool_holder import helpers
from tests.waiting import wait_until

GPU = Device(kind="cuda")
TEXTS = [
    *(each.text for each in opinions(40, longest=200)),
    "",
    "\ud800 court",
    "court </s> held",
    "x" * 4_000,
]


def make_tokeniser(folder: Path, **options: Any) -> TextTokeniser:
    given = {"max_tokens": 64, "piece_tokens": 24, "long_text": "chunk_mean", **options}
    return TextTokeniser(AutoTokenizer.from_pretrained(folder), **given)


@pytest.fixture(scope="module")
def tokeniser(tiny_backbone: Path) -> TextTokeniser:
    return make_tokeniser(tiny_backbone)


@pytest.fixture(scope="module")
def pool(tokeniser: TextTokeniser) -> Iterator[TokeniserPool]:
    made = TokeniserPool(tokeniser, processes=2)
    yield made
    made.close()


def assert_equal(found: list[Any], wanted: list[Any]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        if isinstance(other, str):
            assert one == other
            continue
        assert [piece.tolist() for piece in one.pieces] == [piece.tolist() for piece in other.pieces]
        for name in ("tokens_total", "tokens_seen", "estimated", "readable"):
            assert getattr(one, name) == getattr(other, name)


def test_processes_give_the_same_tokens_and_failures_in_the_same_order(
    pool: TokeniserPool, tokeniser: TextTokeniser
) -> None:
    wanted = encode_each(tokeniser, TEXTS)
    assert any(isinstance(text, str) for text in wanted)
    assert_equal(pool.encode(TEXTS), wanted)
    assert pool.encode([]) == []


def test_processes_give_way_to_the_one_that_starts_the_devices_work(pool: TokeniserPool) -> None:
    pool.encode(TEXTS[:1])
    own = psutil.Process().nice()
    assert {child.nice() for child in helpers()} == {min(19, own + pool_module.NICENESS)}


def test_a_process_that_dies_is_an_error_and_not_a_hang(tokeniser: TextTokeniser) -> None:
    before = helpers()
    doomed = TokeniserPool(tokeniser, processes=1)
    doomed.encode(TEXTS[:1])
    for child in helpers() - before:
        os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(TokeniserLost, match="died"):
        doomed.encode(TEXTS)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_processes_do_not_outlive_a_runner_that_is_killed(tiny_backbone: Path) -> None:
    command = [sys.executable, "-m", "tests.unit.learning.encoder.tokens.pool_holder", str(tiny_backbone)]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    try:
        assert "ready\n" in iter(holder.stdout.readline, "")
        held = psutil.Process(holder.pid).children(recursive=True)
        assert held
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    wait_until(lambda: not any(map(_alive, held)))


def _alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_the_compact_form_keeps_every_text(tokeniser: TextTokeniser) -> None:
    encoded = encode_each(tokeniser, TEXTS)
    chunk = to_chunk(encoded)
    assert chunk.ids.dtype == np.int32
    assert_equal(from_chunk(chunk), encoded)
    assert_equal(from_chunk(to_chunk(["broken"])), ["broken"])


def test_a_document_beyond_the_limit_is_a_chunk_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_module, "CHUNK_CHARACTERS", 10)
    monkeypatch.setattr(pool_module, "CHUNK_DOCUMENTS", 3)
    texts = ["aaaa", "bbbb", "c" * 99, "d", "e", "f", "g"]
    wanted = [["aaaa", "bbbb"], ["c" * 99], ["d", "e", "f"], ["g"]]
    assert list(chunks_of(texts, processes=1)) == wanted


def test_each_process_has_some_of_few_documents() -> None:
    assert list(map(len, chunks_of(["a"] * 10, processes=4))) == [3, 3, 3, 1]
    assert list(map(len, chunks_of(["a"] * 3, processes=4))) == [1, 1, 1]
    assert list(chunks_of([], processes=4)) == []


@pytest.mark.parametrize(
    ("device", "share", "asked", "wanted"),
    [
        (CPU, "16", "", 0),
        (GPU, "16", "", 15),
        (GPU, "64", "", 16),
        (GPU, "4", "", 3),
        (GPU, "1", "", 0),
        (GPU, "4", "0", 0),
        (CPU, "4", "2", 2),
    ],
)
def test_the_number_of_processes_follows_the_setting_or_the_device_and_its_cores(
    device: Device, share: str, asked: str, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", share)
    monkeypatch.setenv("POSTQ_TOKENISER_PROCESSES", asked)
    assert wanted_processes(device) == wanted


def test_a_number_of_processes_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTQ_TOKENISER_PROCESSES", "many")
    with pytest.raises(SettingsInvalid, match="'many'"):
        wanted_processes(GPU)


def test_a_pool_is_ready_once_all_its_processes_are_there(tokeniser: TextTokeniser) -> None:
    before = helpers()
    starting = TokeniserPool(tokeniser, processes=3)
    assert not starting.ready()
    wait_until(starting.ready)
    assert len(helpers() - before) == 3
    starting.close()


def test_a_process_that_dies_on_its_way_is_told_of_by_the_first_use(tokeniser: TextTokeniser) -> None:
    before = helpers()
    doomed = TokeniserPool(tokeniser, processes=2)
    wait_until(lambda: helpers() - before)
    for child in helpers() - before:
        child.kill()
    with pytest.raises(TokeniserLost, match="died"):
        doomed.encode(TEXTS)


@pytest.fixture
def one_process_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a limit on processes is reached."""
    start, started = SpawnProcess.start, itertools.count()

    def limited(self: SpawnProcess) -> None:
        if next(started):
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        start(self)

    monkeypatch.setattr(SpawnProcess, "start", limited)


@pytest.mark.usefixtures("one_process_at_most")
def test_a_pool_that_cannot_start_all_its_processes_says_why_and_leaves_none(
    tokeniser: TextTokeniser,
) -> None:
    before = helpers()
    lacking = TokeniserPool(tokeniser, processes=3)
    wait_until(lacking.ready)
    assert "temporarily unavailable" in str(lacking.why_not)
    lacking.close()
    wait_until(lambda: helpers() <= before)


class Panic(BaseException):
    """As pyo3's, which is no Exception either."""


class Panicking(TextTokeniser):
    """Panics on one word, and has no memory for another."""

    def encode(self, texts: Sequence[str]) -> list[TokenisedText]:
        if any("panic" in text for text in texts):
            raise Panic("called `Option::unwrap()` on a `None` value")
        if any("huge" in text for text in texts):
            raise MemoryError
        return super().encode(texts)


def test_a_panic_of_the_tokenizer_is_that_text_s_alone(tiny_backbone: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_backbone)
    panicking = Panicking(tokenizer, max_tokens=16, piece_tokens=16)
    found = encode_each(panicking, ["the court", "a panic", "held"])
    assert [isinstance(text, str) for text in found] == [False, True, False]
    assert "called `Option::unwrap()`" in str(found[1])
    with pytest.raises(MemoryError):
        encode_each(panicking, ["the court", "huge"])
