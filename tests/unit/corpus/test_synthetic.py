"""Synthetic opinions follow the ontology, are equal for equal seeds, and can be learned, but not by rote."""

import errno
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from postq.corpus.near_duplicates import cluster_documents
from postq.corpus.snapshot import read_documents, read_facts
from postq.corpus.synthetic import write_synthetic_corpus
from postq.corpus.synthetic.label_plan import plan_labels
from postq.corpus.synthetic.ontology import load_ontology
from postq.corpus.synthetic.phrases import load_phrases
from postq.errors import BadInput, StorageUnavailable


@pytest.fixture(scope="module")
def six_hundred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default corpus: 600 opinions of a median of 2,500 words."""
    file = tmp_path_factory.mktemp("synthetic") / "opinions.jsonl"
    write_synthetic_corpus(file)
    return file


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    options: dict[str, Any] = {"documents": 40, "median_words": 200}
    for name, seed in (("a.jsonl", 1), ("b.jsonl", 1), ("c.jsonl", 2), ("a.jsonl.gz", 1), ("b.jsonl.gz", 1)):
        write_synthetic_corpus(tmp_path / name, seed=seed, **options)
    plain = (tmp_path / "a.jsonl").read_bytes()
    assert plain == (tmp_path / "b.jsonl").read_bytes() != (tmp_path / "c.jsonl").read_bytes()
    packed = (tmp_path / "a.jsonl.gz").read_bytes()
    assert packed == (tmp_path / "b.jsonl.gz").read_bytes()
    assert gzip.decompress(packed) == plain


def test_every_document_asked_for_is_usable_and_every_planted_flaw_is_found(
    six_hundred: Path, snapshot: Any, tmp_path: Path
) -> None:
    facts = snapshot(six_hundred)
    assert facts.documents == 600
    assert facts.reasons == dict.fromkeys(
        ("bad_record", "invalid_utf8", "too_short", "missing_text", "repeated_id"), 2
    )
    assert facts.exact_duplicates == 3
    clusters = cluster_documents(read_documents(tmp_path / "snapshot"))
    assert Counter(np.bincount(clusters).tolist()) == {2: 6, 1: 588}  # three copies and three near-copies


def test_lengths_are_log_normal_with_a_long_tail(six_hundred: Path, snapshot: Any, tmp_path: Path) -> None:
    snapshot(six_hundred)
    words = read_facts(tmp_path / "snapshot").words
    documents = list(read_documents(tmp_path / "snapshot", with_text=False))
    assert 2300 < words.median < 2800
    assert 0.25 < np.mean([document.word_count > 3200 for document in documents]) < 0.45
    assert words.longest > 10_000
    unlabelled = [document.word_count for document in documents if not document.labels]
    assert 0.03 < len(unlabelled) / 600 < 0.07
    assert 1.5 < np.median(unlabelled) / words.median < 2.7


def test_lengths_and_spread_can_be_chosen(tmp_path: Path, snapshot: Any) -> None:
    write_synthetic_corpus(tmp_path / "x.jsonl", documents=60, median_words=800, sigma=0.0, flaws=False)
    facts = snapshot(tmp_path / "x.jsonl")
    assert (facts.documents, facts.set_aside) == (60, 0)
    assert facts.words.median == pytest.approx(800, rel=0.1)


@pytest.fixture(scope="module")
def planned() -> Counter[frozenset[str]]:
    """Label sets of as many documents as the ontology counted."""
    from random import Random

    ontology = load_ontology()
    return Counter(plan_labels(ontology, documents=ontology.documents_counted, rng=Random(1)))


def carrying(planned: Counter[frozenset[str]], *labels: str) -> int:
    return sum(count for carried, count in planned.items() if carried.issuperset(labels))


def test_label_counts_are_those_of_the_ontology(planned: Counter[frozenset[str]]) -> None:
    for name, posture in load_ontology().postures.items():
        assert carrying(planned, name) == pytest.approx(posture.documents, rel=0.02), name
    labelled = planned.total() - planned[frozenset()]
    assert planned[frozenset()] / planned.total() == pytest.approx(0.05, abs=0.005)
    assert sum(len(carried) * n for carried, n in planned.items()) / labelled == pytest.approx(1.54, abs=0.02)


def test_labels_occur_together_as_the_ontology_says(planned: Counter[frozenset[str]]) -> None:
    ontology = load_ontology()
    for pair, count in ontology.together.items():
        assert carrying(planned, *pair) == pytest.approx(count, rel=0.1), pair
    for name, posture in ontology.postures.items():
        for stage, share in posture.stages.items():
            found = carrying(planned, name, stage) / posture.documents
            assert found == pytest.approx(share, abs=0.15 if posture.documents < 300 else 0.05), (name, stage)
        if posture.parent:
            both = carrying(planned, name, posture.parent) / posture.documents
            assert both == pytest.approx(posture.with_parent, abs=0.02), name


@pytest.mark.parametrize("documents", [1, 2, 7, 19, 20])
def test_the_smallest_corpora_can_be_written(documents: int, tmp_path: Path) -> None:
    facts = write_synthetic_corpus(tmp_path / "x.jsonl", documents=documents, median_words=150)
    assert facts.documents == documents
    assert facts.lines == len((tmp_path / "x.jsonl").read_bytes().splitlines()) == documents + facts.broken


def test_every_label_has_phrases_and_every_slot_can_be_filled(tmp_path: Path) -> None:
    assert set(load_phrases().postures) == set(load_ontology().postures)
    write_synthetic_corpus(tmp_path / "x.jsonl", documents=400, median_words=400, flaws=False)
    for line in (tmp_path / "x.jsonl").read_text(encoding="utf-8").splitlines():
        opinion = json.loads(line)
        texts = [
            text for section in opinion["sections"] for text in (section["headtext"], *section["paragraphs"])
        ]
        assert not [text for text in texts if "{" in text or "}" in text or not text.strip()]


def test_an_opinion_has_a_caption_headings_and_paragraphs_of_several_sentences(six_hundred: Path) -> None:
    opinion = json.loads(six_hundred.read_bytes().splitlines()[0])
    caption, *body = opinion["sections"]
    assert " v. " in caption["paragraphs"][0]
    assert caption["paragraphs"][1].startswith("No. ")
    assert len(body) >= 3
    sentences = [paragraph.count(". ") + 1 for section in body for paragraph in section["paragraphs"]]
    assert np.mean(sentences) > 2.5


def test_a_linear_model_learns_the_postures_well_but_not_perfectly(
    six_hundred: Path, snapshot: Any, tmp_path: Path
) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score

    snapshot(six_hundred)
    documents = list(read_documents(tmp_path / "snapshot"))
    counts = Counter(label for document in documents[:420] for label in document.labels)
    labels = [label for label, count in counts.items() if count >= 2]
    truth = np.array([[label in document.labels for label in labels] for document in documents])
    vectors = TfidfVectorizer(min_df=5, max_df=0.8, sublinear_tf=True).fit_transform(
        [document.text for document in documents]
    )
    predicted = np.zeros((180, len(labels)), dtype=bool)
    for column in range(len(labels)):
        model = LogisticRegression(C=16, class_weight="balanced", solver="liblinear")
        predicted[:, column] = model.fit(vectors[:420], truth[:420, column]).predict(vectors[420:])
    assert 0.72 < f1_score(truth[420:], predicted, average="micro") < 0.92


@pytest.mark.parametrize("options", [{"documents": 0}, {"median_words": 0}, {"sigma": -1.0}])
def test_impossible_sizes_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        write_synthetic_corpus(tmp_path / "x.jsonl", **options)


def test_a_place_that_cannot_be_written_is_reported_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "taken.jsonl").mkdir()
    with pytest.raises(StorageUnavailable, match="cannot be written"):
        write_synthetic_corpus(tmp_path / "taken.jsonl", documents=2)
    assert [path.name for path in tmp_path.iterdir()] == ["taken.jsonl"]


def test_a_folder_that_may_not_be_entered_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    for touched in ("open", "unlink"):
        monkeypatch.setattr(Path, touched, refuse)
    with pytest.raises(StorageUnavailable, match=r"cannot be written to .*: Permission denied"):
        write_synthetic_corpus(tmp_path / "x.jsonl", documents=10, seed=1)


def test_progress_ends_at_the_last_line(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    facts = write_synthetic_corpus(
        tmp_path / "x.jsonl", documents=120, median_words=150, progress=lambda *done: told.append(done)
    )
    assert told == [(50, facts.lines), (100, facts.lines), (facts.lines, facts.lines)]
