"""Bulk scoring with TF-IDF: every document once, culprits set aside, helpers gone when their parent is."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file, save_file

from postq.contracts.device import Device
from postq.contracts.document import Document
from postq.contracts.recipes import TfidfRecipe
from postq.contracts.scoring import DocumentFailure
from postq.errors import BundleUnusable
from postq.learning.bundle import Bundle, open_bundle
from postq.learning.hooks import Hooks, StopRequested
from postq.learning.scoring import load_scorer
from postq.learning.tfidf import chunks, model
from postq.learning.tfidf import scorer as scorer_module
from postq.learning.tfidf.scorer import TfidfScorer
from postq.learning.training import train_bundle
from tests.unit.learning.opinions import document, opinions, training_data
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A TF-IDF bundle of six labels."""
    folder = tmp_path_factory.mktemp("bundle") / "tfidf"
    recipe = TfidfRecipe(regularisation=(1.0,), folds=2)
    train_bundle(
        recipe, training_data(), output=folder, name="small", device=Device(kind="cpu"), hooks=Hooks()
    )
    return open_bundle(folder)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of five documents, so that a few dozen make many."""
    monkeypatch.setattr(chunks, "CHUNK_DOCUMENTS", 5)


@pytest.fixture
def pooled(bundle: Bundle, small_chunks: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[TfidfScorer]:
    """A scorer with two helper processes that are ready."""
    monkeypatch.setattr(scorer_module, "POOL_CHUNKS", 0)
    scorer = TfidfScorer(bundle, processes=2)
    wait_until(scorer._helped, 60, saying="the helpers to be ready")
    yield scorer
    scorer.close()


def collect(
    scorer: TfidfScorer, documents: list[Document], **options: object
) -> tuple[dict[int, np.ndarray], list[DocumentFailure]]:
    failures: list[DocumentFailure] = []
    scores: dict[int, np.ndarray] = {}
    for batch in scorer.score(documents, on_failure=failures.append, **options):  # type: ignore[arg-type]
        assert (batch.tokens_seen == batch.tokens_total).all()
        for row, values in zip(batch.rows.tolist(), batch.scores, strict=True):
            assert row not in scores
            scores[row] = values
    return scores, failures


def test_scores_are_those_of_the_model_whatever_the_chunking(bundle: Bundle, small_chunks: None) -> None:
    documents = opinions(37, seed=9)
    scores, failures = collect(TfidfScorer(bundle, processes=1), documents)
    whole = model.read_model(bundle.path, labels=len(bundle.labels)).score([d.text for d in documents])
    assert failures == []
    assert list(scores) == [d.row for d in documents]
    assert np.allclose(np.stack(list(scores.values())), whole.scores, atol=1e-6)


def test_helper_processes_give_the_same_scores(bundle: Bundle, pooled: TfidfScorer) -> None:
    documents = opinions(83, seed=9)
    alone, _ = collect(TfidfScorer(bundle, processes=1), documents)
    together, failures = collect(pooled, documents)
    assert failures == []
    assert list(together) == list(alone)
    assert all(np.array_equal(together[row], alone[row]) for row in alone)


def test_helpers_start_once_there_was_enough_work_and_the_runner_goes_on_meanwhile(
    bundle: Bundle, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a scorer that calls for help after six chunks of five documents, over all calls
    monkeypatch.setattr(scorer_module, "POOL_CHUNKS", 6)
    scorer = TfidfScorer(bundle, processes=2)
    try:
        # When it scores twenty documents, then again
        collect(scorer, opinions(20, seed=9))
        assert scorer._pool is None
        scores, failures = collect(scorer, opinions(20, seed=9))
        # Then the helpers were begun in the second call, which did not wait for them
        assert len(scores) == 20
        assert failures == []
        assert scorer._pool is not None
        # And a scorer with one process never has any
        alone = TfidfScorer(bundle, processes=1)
        collect(alone, opinions(83, seed=9))
        assert alone._pool is None
    finally:
        scorer.close()


def test_documents_are_drawn_only_as_fast_as_scores_are_taken(pooled: TfidfScorer) -> None:
    drawn = 0

    def endless() -> Iterator[Document]:
        nonlocal drawn
        while True:
            drawn += 1
            yield document("filler1 filler2 label0word1", row=drawn)

    batches = pooled.score(endless(), on_failure=lambda failure: None)
    for _ in range(20):
        next(batches)
    assert drawn < 5 * (20 + 8 + 4 + 2)
    batches.close()  # type: ignore[attr-defined]


def test_a_document_without_a_known_word_is_set_aside_and_the_rest_go_on(bundle: Bundle) -> None:
    documents = [document("filler1 label0word1", row=0), document("qqq zzz", row=1), document("", row=2)]
    scores, failures = collect(TfidfScorer(bundle, processes=1), documents)
    assert list(scores) == [0]
    assert [failure.row for failure in failures] == [1, 2]
    assert "None of the document's 2 words" in failures[0].error


def test_a_document_that_raises_is_set_aside_and_its_chunk_is_not(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = model.number_tokens

    def fragile(texts: list[str], numbers: dict[str, int]) -> object:
        if any("poison" in text for text in texts):
            raise MemoryError("too much")
        return original(texts, numbers)

    monkeypatch.setattr(model, "number_tokens", fragile)
    documents = [*opinions(6, seed=2), document("filler1 poison", row=6)]
    scores, failures = collect(TfidfScorer(bundle, processes=1), documents)
    assert sorted(scores) == list(range(6))
    assert failures == [DocumentFailure(row=6, error="MemoryError: too much")]


def test_when_a_helper_dies_the_runner_goes_on_itself(pooled: TfidfScorer) -> None:
    documents = opinions(200, seed=5)
    collect(pooled, documents)
    victims = psutil.Process().children(recursive=True)
    helpers = [victim for victim in victims if "spawn_main" in " ".join(victim.cmdline())]
    assert helpers
    helpers[0].send_signal(signal.SIGKILL)
    scores, failures = collect(pooled, documents)
    assert len(scores) == 200
    assert failures == []


def test_helpers_leave_when_their_parent_is_killed(bundle: Bundle, tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from postq.learning.bundle import open_bundle\n"
        "from postq.learning.tfidf import chunks, scorer\n"
        "from tests.unit.learning.opinions import opinions\n"
        "if __name__ == '__main__':\n"
        "    chunks.CHUNK_DOCUMENTS = 5\n"
        "    one = scorer.TfidfScorer(open_bundle(Path(sys.argv[1])), processes=2)\n"
        "    scorer.POOL_CHUNKS = 0\n"
        "    while not one._helped(): time.sleep(0.01)\n"
        "    for batch in one.score(opinions(100), on_failure=print): pass\n"
        "    print('scored', flush=True)\n"
        "    time.sleep(600)\n"
    )
    (tmp_path / "parent.py").write_text(script)
    root = Path(__file__).resolve().parents[3]
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "parent.py"), str(bundle.path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "scored\n"
    helpers = psutil.Process(parent.pid).children(recursive=True)
    assert len(helpers) >= 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not any(_lives(helper) for helper in helpers), 30)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_request_to_stop_is_granted_between_chunks(bundle: Bundle, small_chunks: None) -> None:
    scorer = TfidfScorer(bundle, processes=1)
    taken = 0

    def should_stop() -> bool:
        return taken >= 2

    batches = scorer.score(opinions(50), on_failure=print, should_stop=should_stop)
    for _ in range(2):
        next(batches)
        taken += 1
    with pytest.raises(StopRequested):
        next(batches)


def test_the_loader_finds_the_scorer_by_kind(bundle: Bundle) -> None:
    scorer = load_scorer(bundle, Device(kind="cpu"))
    assert isinstance(scorer, TfidfScorer)
    assert scorer.labels == bundle.labels


@pytest.mark.parametrize("damage", ["nan", "shape", "dtype", "missing"])
def test_weights_that_do_not_fit_are_refused(bundle: Bundle, tmp_path: Path, damage: str) -> None:
    shutil.copytree(bundle.path, tmp_path / "copy")
    arrays = load_file(tmp_path / "copy" / model.WEIGHTS)
    if damage == "nan":
        arrays["idf"][0] = np.nan
    elif damage == "shape":
        arrays["intercepts"] = arrays["intercepts"][:-1]
    elif damage == "dtype":
        arrays["idf"] = arrays["idf"].astype(np.float64)
    else:
        del arrays["coefficients"]
    save_file(arrays, tmp_path / "copy" / model.WEIGHTS)
    with pytest.raises(BundleUnusable):
        model.read_model(tmp_path / "copy", labels=len(bundle.labels))
