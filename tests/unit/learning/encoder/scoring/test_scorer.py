"""Bulk scoring gives every document its score once, sets failures aside, and is stalled by nobody."""

import errno
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from postq.contracts.document import Document
from postq.contracts.recipes import EncoderRecipe, Precision
from postq.contracts.scoring import DocumentFailure, ScoreBatch
from postq.errors import BundleUnusable, TokeniserLost
from postq.learning.bundle.bundle import Bundle
from postq.learning.encoder.forward import inference
from postq.learning.encoder.scoring import scorer
from postq.learning.encoder.scoring.scorer import EncoderScorer
from postq.learning.encoder.tokens import pool
from postq.learning.encoder.training.fine_tuning import train_encoder
from postq.learning.encoder.training.trained import TrainedEncoder
from postq.learning.hooks import Hooks, StopRequested
from tests.unit.learning.encoder.material import CPU, LABELS, document, opinions, training_data
from tests.unit.learning.encoder.tokens.pool_holder import helpers

DOCUMENTS = opinions(60, start=500, longest=200)


@pytest.fixture(scope="module", params=["truncate", "chunk_mean", "bert"])
def trained(request: pytest.FixtureRequest, tiny_backbone: Path, tiny_bert: Path) -> TrainedEncoder:
    chunked = request.param != "truncate"
    recipe = EncoderRecipe(
        backbone=str(tiny_bert if request.param == "bert" else tiny_backbone),
        max_tokens=256 if chunked else 128,
        long_text="chunk_max" if request.param == "bert" else request.param,
        epochs=1,
        learning_rate=1e-3,
    )
    data = training_data(opinions(20), opinions(10, start=100))
    return train_encoder(recipe, data, device=CPU, hooks=Hooks())


@pytest.fixture(scope="module")
def folder(trained: TrainedEncoder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("bundle")
    trained.write_model_files(target)
    return target


def load(
    folder: Path,
    *,
    tokens: int | None = 1000,
    divisor: int = 1,
    recipe: EncoderRecipe | None = None,
    precision: Precision | None = None,
) -> EncoderScorer:
    bundle = cast(Bundle, SimpleNamespace(path=folder, labels=LABELS, recipe=recipe or EncoderRecipe()))
    return EncoderScorer(bundle, CPU, max_tokens_per_batch=tokens, batch_divisor=divisor, precision=precision)


def run(
    loaded: EncoderScorer, documents: Any, *, stop: Callable[[], bool] = lambda: False
) -> tuple[dict[int, ScoreBatch], dict[int, str], int]:
    """Scores by row (one-document slices), failures by row, and the number of batches."""
    failures: list[DocumentFailure] = []
    found: dict[int, ScoreBatch] = {}
    batches = 0
    for batch in loaded.score(documents, on_failure=failures.append, should_stop=stop):
        batches += 1
        for position, row in enumerate(batch.rows.tolist()):
            assert row not in found
            one = slice(position, position + 1)
            found[row] = ScoreBatch(
                rows=batch.rows[one],
                scores=batch.scores[one],
                tokens_total=batch.tokens_total[one],
                tokens_seen=batch.tokens_seen[one],
            )
    return found, {failure.row: failure.error for failure in failures}, batches


def test_scores_equal_the_trained_model_s_whatever_the_batches(trained: TrainedEncoder, folder: Path) -> None:
    expected = trained.score(DOCUMENTS)
    for tokens, divisor in ((1000, 1), (1000, 8), (1, 1), (100_000, 1)):
        found, failures, batches = run(load(folder, tokens=tokens, divisor=divisor), DOCUMENTS)
        assert failures == {}
        assert batches >= 1
        scores = np.concatenate([found[each.row].scores for each in DOCUMENTS])
        np.testing.assert_allclose(scores, expected, atol=1e-5)
        assert scores.dtype == np.float32


def test_small_windows_of_documents_change_no_score(
    trained: TrainedEncoder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorer, "WINDOW_DOCUMENTS", 7)
    found, _, _ = run(load(folder), iter(DOCUMENTS))
    scores = np.concatenate([found[each.row].scores for each in DOCUMENTS])
    np.testing.assert_allclose(scores, trained.score(DOCUMENTS), atol=1e-5)


def test_the_first_windows_are_small_so_that_the_device_hardly_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer, "FIRST_WINDOW_DOCUMENTS", 3)
    monkeypatch.setattr(scorer, "WINDOW_DOCUMENTS", 7)
    seen = [[each.row for each in window] for window in scorer._windows(iter(DOCUMENTS[:25]))]
    assert [len(rows) for rows in seen] == [3, 6, 7, 7, 2]
    assert [row for rows in seen for row in rows] == [each.row for each in DOCUMENTS[:25]]


def test_by_default_a_score_on_a_cpu_is_the_same_to_the_last_bit_whatever_its_neighbours(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _, _ = run(load(folder, tokens=None), DOCUMENTS)
    monkeypatch.setattr(scorer, "WINDOW_DOCUMENTS", 7)
    for some, divisor in ((DOCUMENTS[::-1], 1), (DOCUMENTS[5:41], 4), (DOCUMENTS[17:18], 1)):
        found, _, _ = run(load(folder, tokens=None, divisor=divisor), some)
        for each in some:
            assert found[each.row].scores.tobytes() == whole[each.row].scores.tobytes()


def test_in_bfloat16_scores_are_rounded_and_no_more(folder: Path) -> None:
    exact, _, _ = run(load(folder), DOCUMENTS)
    rounded, failures, _ = run(load(folder, precision="bf16"), DOCUMENTS)
    assert failures == {}
    differences = [np.abs(rounded[row].scores - exact[row].scores).max() for row in exact]
    assert 0 < max(differences) < 0.03


@pytest.mark.parametrize(("own", "asked", "taken"), [("bf16", None, "bf16"), ("bf16", "fp32", "fp32")])
def test_the_precision_is_the_recipe_s_unless_a_job_says_otherwise(
    folder: Path, own: Precision, asked: Precision | None, taken: Precision
) -> None:
    recipe = EncoderRecipe(precision=own)
    found, _, _ = run(load(folder, recipe=recipe, precision=asked), DOCUMENTS[:5])
    expected, _, _ = run(load(folder, precision=taken), DOCUMENTS[:5])
    for row in expected:
        assert found[row].scores.tobytes() == expected[row].scores.tobytes()


def test_documents_that_cannot_be_scored_are_told_apart_and_the_rest_go_on(folder: Path) -> None:
    bad = [document(1, ""), document(2, "\ud800 court"), document(3, "court held " * 5)]
    found, failures, _ = run(load(folder), [*bad, *DOCUMENTS[:5]])
    assert sorted(failures) == [1, 2]
    assert "no tokens" in failures[1]
    assert "cannot be tokenised" in failures[2]
    assert sorted(found) == sorted([3, *(each.row for each in DOCUMENTS[:5])])


def test_how_much_of_each_document_was_read_is_told(trained: TrainedEncoder, folder: Path) -> None:
    short, long = document(1, "court held the motion"), document(2, "court held the motion " * 200)
    found, _, _ = run(load(folder), [short, long])
    assert found[1].tokens_seen == found[1].tokens_total
    assert 0 < found[2].tokens_seen[0] < found[2].tokens_total[0]
    assert found[2].tokens_seen[0] <= trained.settings.max_tokens


@pytest.mark.slow
def test_a_document_of_430_000_words_stalls_nobody(folder: Path) -> None:
    sentence = "the court held that the motion of the party was denied by order of the judge "
    endless = document(999, sentence * (430_000 // len(sentence.split())))
    found, failures, _ = run(load(folder), [endless, *DOCUMENTS[:5]])
    assert failures == {}
    assert set(found) == {999, *(each.row for each in DOCUMENTS[:5])}
    assert found[999].tokens_total[0] > 400_000


def test_a_score_that_is_not_a_number_is_a_failure_of_that_document_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = inference.forward_logits
    marked = "sentencing" + "a"

    loaded = load(folder)
    ids = {tuple(piece) for piece in loaded._tokeniser.encode([f"{marked} court"])[0].pieces}

    def poisoned(model: Any, batch: Any, **how: Any) -> torch.Tensor:
        logits = whole(model, batch, **how)
        for row, piece in enumerate(batch.pieces):
            if tuple(piece) in ids:
                logits[row, 0] = float("nan")
        return logits

    monkeypatch.setattr(inference, "forward_logits", poisoned)
    found, failures, _ = run(loaded, [document(7, f"{marked} court"), *DOCUMENTS[:5]])
    assert failures == {7: "The model's score is not a number."}
    assert len(found) == 5


def test_out_of_memory_halves_the_budget_and_goes_on(
    trained: TrainedEncoder, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, sizes = inference.forward_logits, list[int]()

    def cramped(model: Any, batch: Any, **how: Any) -> torch.Tensor:
        if len(batch.pieces) > 3:
            raise torch.OutOfMemoryError
        sizes.append(len(batch.pieces))
        return whole(model, batch, **how)

    monkeypatch.setattr(inference, "forward_logits", cramped)
    found, failures, _ = run(load(folder, tokens=5000), DOCUMENTS)
    assert failures == {}
    assert max(sizes) in (2, 3)
    monkeypatch.undo()
    scores = np.concatenate([found[each.row].scores for each in DOCUMENTS])
    np.testing.assert_allclose(scores, trained.score(DOCUMENTS), atol=1e-5)


def test_a_stop_is_granted_between_batches_and_the_reader_s_thread_ends(folder: Path) -> None:
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    threads = threading.active_count()
    with pytest.raises(StopRequested):
        run(load(folder, tokens=1), DOCUMENTS, stop=stop)
    deadline = time.monotonic() + 10
    while threading.active_count() > threads:
        assert time.monotonic() < deadline


def test_an_error_of_the_document_source_reaches_the_caller(folder: Path) -> None:
    def broken() -> Iterator[Document]:
        yield DOCUMENTS[0]
        raise OSError("the snapshot is gone")

    with pytest.raises(OSError, match="the snapshot is gone"):
        run(load(folder), broken())


@pytest.mark.parametrize("trained", ["truncate"], indirect=True)
def test_tokenising_processes_change_no_score_and_their_death_ends_the_attempt(
    trained: TrainedEncoder,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Callable[..., Any],
) -> None:
    monkeypatch.setenv("POSTQ_TOKENISER_PROCESSES", "1")
    monkeypatch.setattr(scorer, "POOL_DOCUMENTS", 2)
    loaded, before, documents = load(folder), helpers(), [*DOCUMENTS, document(1, "\ud800 court")]
    first, _, _ = run(loaded, documents)  # this process tokenises until the other is there
    wait_until(lambda: loaded._pool is not None and loaded._pool.ready())
    monkeypatch.setattr(scorer, "encode_each", None)
    found, failures, _ = run(loaded, documents)
    assert list(failures) == [1]
    for each in (first, found):
        scores = np.concatenate([each[one.row].scores for one in DOCUMENTS])
        np.testing.assert_allclose(scores, trained.score(DOCUMENTS), atol=1e-5)
    begun = helpers() - before
    assert begun
    for helper in begun:
        helper.kill()
    with pytest.raises(TokeniserLost):
        run(loaded, DOCUMENTS)
    loaded.close()


@pytest.fixture
def reading_ahead(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EncoderScorer]:
    """A scorer that may tokenise ahead, with a process that it needs for large windows only."""
    monkeypatch.setenv("POSTQ_TOKENISER_PROCESSES", "1")
    monkeypatch.setattr(scorer, "FIRST_WINDOW_DOCUMENTS", 8)
    loaded = load(folder, tokens=None)
    yield loaded
    loaded.close()


class Drawn:
    """Documents that know how many of them were asked for."""

    def __init__(self, documents: list[Document]) -> None:
        self._documents = iter(documents)
        self.count = 0

    def __iter__(self) -> "Drawn":
        return self

    def __next__(self) -> Document:
        found = next(self._documents)
        self.count += 1
        return found


def test_documents_begun_ahead_are_read_at_once_and_give_the_same_scores(
    folder: Path, reading_ahead: EncoderScorer, wait_until: Callable[..., Any]
) -> None:
    whole, _, _ = run(load(folder, tokens=None), DOCUMENTS)
    following = Drawn(DOCUMENTS[20:])

    def begin_once() -> bool:
        if following.count == 0:
            reading_ahead.begin(following)
            wait_until(lambda: following.count >= 24)  # two windows, of 8 and 16 documents
        return False

    first, _, _ = run(reading_ahead, DOCUMENTS[:20], stop=begin_once)
    second, _, _ = run(reading_ahead, following)
    found = {**first, **second}
    for each in DOCUMENTS:
        assert found[each.row].scores.tobytes() == whole[each.row].scores.tobytes()


@pytest.mark.parametrize("lacking", ["memory", "processes"])
def test_where_no_process_can_tokenise_the_runner_does(
    folder: Path, lacking: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a container without shared memory, or with a limit on processes."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EAGAIN, f"no {lacking} left")

    wanted, _, _ = run(load(folder, tokens=None), DOCUMENTS)
    monkeypatch.setenv("POSTQ_TOKENISER_PROCESSES", "2")
    monkeypatch.setattr(scorer, "POOL_DOCUMENTS", 1)
    monkeypatch.setattr(scorer, "FIRST_WINDOW_DOCUMENTS", 4)
    place = (pool, "_shared") if lacking == "memory" else (SpawnProcess, "start")
    monkeypatch.setattr(*place, refuse)
    loaded = load(folder, tokens=None)
    for _ in range(2):
        found, _, _ = run(loaded, DOCUMENTS)
        for each in DOCUMENTS:
            assert found[each.row].scores.tobytes() == wanted[each.row].scores.tobytes()
    assert capsys.readouterr().out.count(f"no {lacking} left") == 1
    loaded.close()


def test_documents_begun_ahead_are_left_when_others_are_wanted(
    reading_ahead: EncoderScorer, wait_until: Callable[..., Any]
) -> None:
    threads = threading.active_count()
    begun = Drawn(DOCUMENTS)
    reading_ahead.begin(begun)
    wait_until(lambda: begun.count > 0)
    found, _, _ = run(reading_ahead, DOCUMENTS[:3])
    assert sorted(found) == [each.row for each in DOCUMENTS[:3]]
    reading_ahead.begin(Drawn(DOCUMENTS))
    reading_ahead.leave_off()
    assert threading.active_count() <= threads  # those of an earlier pool may have ended meanwhile


def test_an_error_in_documents_begun_ahead_is_raised_by_who_asks_for_them(
    reading_ahead: EncoderScorer,
) -> None:
    def broken() -> Iterator[Document]:
        raise OSError("the snapshot is gone")
        yield

    documents = broken()
    reading_ahead.begin(documents)
    run(reading_ahead, [])  # which asks for others
    documents = broken()
    reading_ahead.begin(documents)
    with pytest.raises(OSError, match="the snapshot is gone"):
        run(reading_ahead, documents)


def test_nothing_is_begun_where_the_model_needs_all_cores(folder: Path) -> None:
    documents = Drawn(DOCUMENTS[:5])
    loaded, threads = load(folder), threading.active_count()
    loaded.begin(documents)
    assert (documents.count, threading.active_count()) == (0, threads)
    found, _, _ = run(loaded, documents)
    assert len(found) == 5


def test_no_documents_give_no_batches(folder: Path) -> None:
    assert run(load(folder), []) == ({}, {}, 0)


def test_a_bundle_with_nan_weights_or_without_settings_is_refused(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    next(iter(weights.values())).view(-1)[0] = float("nan")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BundleUnusable, match="NaN"):
        load(tmp_path)
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    (tmp_path / "encoder.json").unlink()
    with pytest.raises(BundleUnusable, match=r"encoder\.json"):
        load(tmp_path)
