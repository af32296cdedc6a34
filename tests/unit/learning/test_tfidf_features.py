"""TF-IDF features are scikit-learn's, to the column, the order and the last bit that float32 allows."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer, TfidfVectorizer

from postq.errors import BadInput, NotTrainable
from postq.learning.tfidf.features import Dampening, inverse_document_frequency, mean_words, tfidf_rows
from postq.learning.tfidf.ngrams import NgramScheme
from postq.learning.tfidf.selection import Selection, merge_interned, select_features
from postq.learning.tfidf.tokens import find_tokens, intern_tokens, number_tokens
from postq.learning.tfidf.vocabulary import batches
from tests.unit.learning.opinions import opinions

TEXTS = [each.text for each in opinions(120, seed=4)]
TRICKY = st.text(
    alphabet=st.sampled_from("aAbB1_é“—§ß\u00a0İ\n\x1f.'x日K\u0301 ") | st.characters(codec="utf-8"),
    max_size=30,
)


def selected(texts: list[str], **options: object) -> Selection:
    values: dict[str, object] = {"ngram_max": 2, "min_df": 1, "max_df": 1.0, "max_features": 10**6}
    half = len(texts) // 2
    parts = [intern_tokens(texts[:half]), intern_tokens(texts[half:])]
    return select_features(*merge_interned(parts), **(values | options))  # type: ignore[arg-type]


@given(TRICKY)
@settings(max_examples=500, deadline=None)
def test_tokens_are_those_of_scikit_learn(text: str) -> None:
    theirs = CountVectorizer().build_analyzer()(text)
    assert [token for token in find_tokens(text) if len(token) > 1] == theirs


@pytest.mark.parametrize("ngram_max", [1, 2, 3])
@pytest.mark.parametrize("stop_words", [None, "english"])
def test_vocabulary_and_rows_equal_scikit_learn(ngram_max: int, stop_words: str | None) -> None:
    sublinear = ngram_max != 2
    reference = TfidfVectorizer(
        ngram_range=(1, ngram_max), min_df=2, max_df=0.5, stop_words=stop_words, sublinear_tf=sublinear
    )
    texts = [f"the {text} and a of of" for text in TEXTS]
    theirs = reference.fit_transform(texts)
    ours = selected(
        texts, ngram_max=ngram_max, min_df=2, max_df=0.5, stop_words=ENGLISH_STOP_WORDS if stop_words else ()
    )
    assert list(ours.vocabulary.features) == reference.get_feature_names_out().tolist()
    idf = inverse_document_frequency(ours.document_frequency, documents=len(texts))
    assert np.allclose(idf, reference.idf_, rtol=1e-6)
    dampening = Dampening(kind="log" if sublinear else "raw")
    fitted = tfidf_rows(ours.stream, ours.vocabulary, idf=idf, dampening=dampening)
    assert abs(fitted - theirs).max() < 1e-6
    unseen = ["filler1 filler2 never seen", "", "x", *TEXTS[:5]]
    stream = number_tokens(unseen, ours.vocabulary.numbers)
    rows = tfidf_rows(stream, ours.vocabulary, idf=idf, dampening=dampening)
    assert abs(rows - reference.transform(unseen)).max() < 1e-6


@given(st.lists(TRICKY, min_size=1, max_size=6), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_any_texts_count_as_in_scikit_learn(texts: list[str], ngram_max: int) -> None:
    reference = CountVectorizer(ngram_range=(1, ngram_max))
    try:
        theirs = reference.fit_transform(texts)
    except ValueError:
        with pytest.raises(NotTrainable):
            selected(texts, ngram_max=ngram_max)
        return
    ours = selected(texts, ngram_max=ngram_max)
    assert list(ours.vocabulary.features) == reference.get_feature_names_out().tolist()
    dense = np.zeros(theirs.shape, np.int64)
    for counts in ours.vocabulary.count(ours.stream):
        dense[counts.documents, counts.keys] = counts.counts
    assert (dense == theirs.toarray()).all()


def test_the_most_frequent_features_are_kept() -> None:
    found = selected(["one two two three three three"] * 2, ngram_max=1, max_features=2)
    assert found.vocabulary.features == ("three", "two")


def test_a_dropped_word_makes_its_neighbours_neighbours_and_an_unknown_one_does_not() -> None:
    texts = ["red the car", "red the car", "red fast car"]
    found = selected(texts, min_df=2, stop_words={"the"})
    assert "red car" in found.vocabulary.features
    stream = number_tokens(["red the car", "red quick car"], found.vocabulary.numbers)
    rows = tfidf_rows(stream, found.vocabulary, idf=np.ones(3, np.float32), dampening=Dampening(kind="log"))
    assert np.diff(rows.indptr).tolist() == [3, 2]


def test_documents_without_words_are_rows_of_zeros() -> None:
    found = selected(TEXTS)
    stream = number_tokens(["", "unheard of", TEXTS[0]], found.vocabulary.numbers)
    idf = inverse_document_frequency(found.document_frequency, documents=len(TEXTS))
    rows = tfidf_rows(stream, found.vocabulary, idf=idf, dampening=Dampening(kind="log"))
    assert np.diff(rows.indptr)[:2].tolist() == [0, 0]
    assert np.isfinite(rows.data).all()
    assert np.linalg.norm(rows[[2]].toarray()) == pytest.approx(1.0)


def test_batches_hold_every_document_once_within_their_bounds() -> None:
    stream = intern_tokens([*TEXTS, "", "word " * 500, ""])[1]
    parts = list(batches(stream, documents=7, tokens=200))
    assert sum(len(part.lengths) for _, part in parts) == len(TEXTS) + 3
    assert all(len(part.lengths) <= 7 for _, part in parts)
    assert [first for first, _ in parts] == np.cumsum([0, *(len(p.lengths) for _, p in parts)])[:-1].tolist()
    assert np.array_equal(np.concatenate([part.ids for _, part in parts]), stream.ids)


def test_small_batches_count_like_one_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    found = selected(TEXTS)
    whole = list(found.vocabulary.count(found.stream))
    assert len(whole) == 1
    monkeypatch.setattr(NgramScheme, "batch_documents", 7)
    pieces = list(found.vocabulary.count(found.stream))
    assert len(pieces) > 10
    for name in ("documents", "keys", "counts"):
        joined = np.concatenate([getattr(piece, name) for piece in pieces])
        assert np.array_equal(joined, getattr(whole[0], name))


def test_too_many_words_for_long_ngrams_are_refused_in_words() -> None:
    with pytest.raises(BadInput, match="3000000 distinct words"):
        _ = NgramScheme(words=3_000_000, ngram_max=3).batch_documents
    assert NgramScheme(words=3_000_000, ngram_max=2).batch_documents >= 1


def test_texts_without_a_shared_word_are_not_trainable() -> None:
    with pytest.raises(NotTrainable, match="in 2 training documents or more"):
        selected(["apple", "pear"], min_df=2)


def test_bm25_rows_are_those_of_the_formula() -> None:
    # Given documents of unlike lengths, and the words of one that was never seen
    texts = ["tort tort tort duty", "duty", "tort duty breach " * 40, "breach and nothing else but breach"]
    found = selected(texts, ngram_max=1)
    idf = inverse_document_frequency(found.document_frequency, documents=len(texts))
    mean = mean_words(found.stream)
    assert mean == pytest.approx((4 + 1 + 120 + 6) / 4)
    fresh = [*texts, "tort unheard of tort"]
    stream = number_tokens(fresh, found.vocabulary.numbers)
    rows = tfidf_rows(stream, found.vocabulary, idf=idf, dampening=Dampening(kind="bm25", mean_words=mean))
    # Then each weight is the formula's, at unit length, unknown words counting as length
    for row, text in zip(rows.toarray(), fresh, strict=True):
        words = text.split()
        room = 1.2 * (1 - 0.75 + 0.75 * len(words) / mean)
        counts = np.array([words.count(word) for word in found.vocabulary.features])
        expected = counts * 2.2 / (counts + room) * idf
        assert np.allclose(row, expected / np.linalg.norm(expected), atol=1e-6)


def test_a_row_is_the_same_to_the_last_bit_whatever_documents_come_before_it() -> None:
    # Given a word of enormous weight in one document, beside which the others' weights are nothing
    found = selected(["colossal", "tort duty", "duty breach breach"], ngram_max=1)
    idf = np.where(np.array(found.vocabulary.features) == "colossal", 1e9, 0.1).astype(np.float32)
    tort = number_tokens(["tort duty duty breach"], found.vocabulary.numbers)
    both = number_tokens(["colossal colossal", "tort duty duty breach"], found.vocabulary.numbers)
    for kind in ("raw", "log", "bm25"):
        dampening = Dampening(kind=kind, mean_words=2.0)
        alone = tfidf_rows(tort, found.vocabulary, idf=idf, dampening=dampening)
        beside = tfidf_rows(both, found.vocabulary, idf=idf, dampening=dampening)
        assert beside[[1]].data.tobytes() == alone.data.tobytes()
