"""MinHash against exact Jaccard, and clusters against what was planted."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from postq.contracts.document import Document
from postq.corpus.minhash import PERMUTATIONS, SHINGLE_WORDS, MinHasher, words_of
from postq.corpus.near_duplicates import (
    SIMILARITY,
    Signatures,
    _bands,
    cluster_documents,
    cluster_signatures,
    find_near_duplicates,
    sign_documents,
)
from postq.corpus.normalise import content_hash


def document(text: str) -> Document:
    return Document(row=0, document_id="", text=text, content_hash=content_hash(text), word_count=0)


def words(rng: random.Random, count: int) -> list[str]:
    return [f"w{rng.randrange(100_000)}" for _ in range(count)]


def exact_similarity(left: str, right: str) -> float:
    def shingles(text: str) -> set[tuple[str, ...]]:
        tokens = text.lower().split()
        return {
            tuple(tokens[start : start + SHINGLE_WORDS]) for start in range(len(tokens) - SHINGLE_WORDS + 1)
        }

    one, other = shingles(left), shingles(right)
    return len(one & other) / len(one | other)


def pair_with_overlap(rng: random.Random, *, shared: int, own: int) -> tuple[str, str]:
    """Two texts with a common beginning of `shared` words and `own` words each after it."""
    common = words(rng, shared)
    return " ".join(common + words(rng, own)), " ".join(common + words(rng, own))


@pytest.mark.parametrize(("shared", "own"), [(300, 30), (300, 100), (300, 300), (40, 8), (3000, 300)])
def test_estimates_agree_with_exact_similarity(shared: int, own: int) -> None:
    rng = random.Random(f"{shared}:{own}")
    hasher = MinHasher()
    errors, exact = [], []
    for _ in range(60):
        left, right = pair_with_overlap(rng, shared=shared, own=own)
        estimate = (hasher.signature(left) == hasher.signature(right)).mean()
        exact.append(exact_similarity(left, right))
        errors.append(estimate - exact[-1])
    # Then the estimate is unbiased, and no wider than 128 independent permutations would make it.
    expected = (np.mean(exact) * (1 - np.mean(exact)) / PERMUTATIONS) ** 0.5
    assert abs(np.mean(errors)) < 4 * expected / len(errors) ** 0.5
    assert np.std(errors) < 1.4 * expected


def test_shingles_are_equal_exactly_when_their_words_are() -> None:
    rng = random.Random(5)
    tokens = [rng.choice("abcdefg") for _ in range(400)]
    hashes = MinHasher().shingles(" ".join(tokens))
    grams = [tuple(tokens[start : start + SHINGLE_WORDS]) for start in range(len(tokens) - SHINGLE_WORDS + 1)]
    assert len(hashes) == len(grams)
    assert len(set(hashes.tolist())) == len(set(grams))
    assert len(set(zip(grams, hashes.tolist(), strict=True))) == len(set(grams))


@pytest.mark.parametrize("text", ["", "…", "one", "one two three four", "* * *"])
def test_a_text_of_fewer_words_than_a_shingle_is_one_shingle(text: str) -> None:
    assert len(MinHasher().shingles(text)) == 1


def test_case_punctuation_and_quotation_marks_do_not_count() -> None:
    assert words_of("The “Court’s” order,\n\nof May 3—1999.") == b"the court s order of may 3 1999"


def test_signatures_depend_on_the_seed_alone() -> None:
    text = " ".join(words(random.Random(1), 200))
    again, other = MinHasher(seed=1).signature(text), MinHasher(seed=2).signature(text)
    assert (MinHasher(seed=1).signature(text) == again).all()
    assert (other != again).mean() > 0.9


def planted() -> tuple[list[Document], list[set[int]]]:
    """Forty documents on their own, with copies and near-copies of some between them, and their groups."""
    rng = random.Random(3)
    texts = [words(rng, rng.randrange(60, 900)) for _ in range(40)]
    documents = [document(" ".join(text)) for text in texts]
    groups = []
    for place in (0, 7, 8):
        changed = list(texts[place])
        changed[len(changed) // 2] = "changed"
        documents += [document(" ".join(texts[place])), document(" ".join(changed))]
        groups.append({place, len(documents) - 2, len(documents) - 1})
    return documents, groups


def groups_of(numbers: Sequence[int]) -> list[set[int]]:
    found: dict[int, set[int]] = {}
    for row, number in enumerate(numbers):
        found.setdefault(number, set()).add(row)
    return [group for group in found.values() if len(group) > 1]


def test_copies_and_near_copies_share_a_cluster_and_nothing_else_does() -> None:
    documents, groups = planted()
    numbers = cluster_documents(documents).tolist()
    assert groups_of(numbers) == groups
    assert numbers[:40] == list(range(40))  # counted from 0 in order of first appearance


def test_half_similar_documents_stay_apart() -> None:
    rng = random.Random(4)
    pairs = [pair_with_overlap(rng, shared=200, own=70) for _ in range(20)]
    assert 0.55 < exact_similarity(*pairs[0]) < 0.65
    numbers = cluster_documents(document(text) for pair in pairs for text in pair)
    assert len(set(numbers.tolist())) == 40


def test_a_chain_of_near_duplicates_is_one_cluster() -> None:
    rng = random.Random(6)
    text = words(rng, 400)
    chain = []
    for step in range(6):
        text[step * 60 : step * 60 + 8] = words(rng, 8)
        chain.append(document(" ".join(text)))
    assert exact_similarity(chain[0].text, chain[-1].text) < 0.8
    assert len(set(cluster_documents(chain).tolist())) == 1


def test_many_copies_of_one_form_are_one_cluster() -> None:
    rng = random.Random(7)
    form = words(rng, 300)
    filled = [document(" ".join([*form, f"name{n}"])) for n in range(500)]
    assert len(set(cluster_documents(filled).tolist())) == 1


def test_clusters_of_forms_just_alike_enough_are_those_of_comparing_every_pair() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):  # twelve documents of one form each, about 80 % alike two by two
        form = rng.integers(0, 2**32, PERMUTATIONS, dtype=np.uint32)
        own = rng.integers(0, 2**32, (12, PERMUTATIONS), dtype=np.uint32)
        values = np.where(rng.random(own.shape) < 0.11, own, form)
        signatures = Signatures(values=values, content_hashes=[bytes([row]) for row in range(12)])
        assert cluster_signatures(signatures).tolist() == slow_clusters(values)


def slow_clusters(values: NDArray[np.uint32]) -> list[int]:
    """Numbers of the clusters when every pair that shares a band and is alike is joined."""
    bands = list(_bands(values))
    near = (values[:, None] == values).mean(axis=2) >= SIMILARITY
    joined = near & np.any([keys[:, None] == keys for keys in bands], axis=0)
    for _ in values:
        joined = joined @ joined
    first = joined.argmax(axis=1).tolist()
    return [sorted(set(first)).index(row) for row in first]


def test_equal_content_shares_a_cluster_even_where_signatures_cannot_tell() -> None:
    signatures = sign_documents([document("a b c d e f g"), document("x"), document("a b c d e f g")])
    signatures.values[:] = np.arange(3, dtype=np.uint32)[:, None]
    assert cluster_signatures(signatures).tolist() == [0, 1, 0]


def test_new_documents_find_their_near_duplicates_among_known_ones() -> None:
    documents, _ = planted()
    known = sign_documents(documents[:40])
    new = sign_documents([*documents[40:], document(" ".join(words(random.Random(9), 80)))])
    assert find_near_duplicates(known, new).tolist() == [0, 0, 7, 7, 8, 8, -1]


def test_signatures_of_different_seeds_are_not_compared() -> None:
    one, other = sign_documents([document("a")], seed=1), sign_documents([document("a")], seed=2)
    with pytest.raises(ValueError, match="seeds"):
        find_near_duplicates(one, other)


def test_no_documents_make_no_clusters() -> None:
    assert cluster_documents([]).tolist() == []
    nothing = sign_documents([])
    assert find_near_duplicates(nothing, sign_documents([document("a")])).tolist() == [-1]


def test_progress_is_told() -> None:
    told: list[int] = []
    sign_documents((document(f"text {n}") for n in range(250)), progress=told.append)
    assert told == [100, 200, 250]
