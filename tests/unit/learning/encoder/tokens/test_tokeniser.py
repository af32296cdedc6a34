"""Texts become tokens under a budget, and what was not read is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from postq.learning.encoder.tokens.tokeniser import EXACT_CHARACTERS_PER_TOKEN, TextTokeniser, special_tokens

START, END = 0, 2


@pytest.fixture
def tokenizer(tiny_backbone: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_backbone)


def tokeniser(tokenizer: Any, **options: Any) -> TextTokeniser:
    return TextTokeniser(tokenizer, **{"max_tokens": 16, "piece_tokens": 16, **options})


def plain_ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def test_a_short_text_is_read_whole_between_the_special_tokens(tokenizer: Any) -> None:
    (read,) = tokeniser(tokenizer).encode(["court appeal"])
    expected = tokenizer("court appeal")["input_ids"]
    assert read.pieces[0].tolist() == expected
    assert read.tokens_seen == read.tokens_total == len(expected) - 2
    assert not read.estimated


def test_a_long_text_is_cut_to_the_budget_and_its_true_length_is_known(tokenizer: Any) -> None:
    text = "court appeal motion " * 20
    (read,) = tokeniser(tokenizer).encode([text])
    ids = plain_ids(tokenizer, text)
    assert read.pieces[0].tolist() == [START, *ids[:14], END]
    assert (read.tokens_seen, read.tokens_total) == (14, len(ids))


def test_head_tail_reads_both_ends(tokenizer: Any) -> None:
    text = " ".join(f"court{i} appeal" for i in range(40))
    (read,) = tokeniser(tokenizer, long_text="head_tail").encode([text])
    ids = plain_ids(tokenizer, text)
    assert read.pieces[0].tolist() == [START, *ids[:7], *ids[-7:], END]


def test_head_tail_of_an_endless_text_ends_with_its_last_words(tokenizer: Any) -> None:
    text = "court " * 2000 + "motion denied"
    (read,) = tokeniser(tokenizer, long_text="head_tail").encode([text])
    assert read.estimated
    assert read.pieces[0].tolist()[-3:] == [*plain_ids(tokenizer, "court motion denied")[-2:], END]


def test_chunks_are_even_and_together_stay_within_the_budget(tokenizer: Any) -> None:
    text = "court appeal motion denied " * 20
    (read,) = tokeniser(tokenizer, max_tokens=48, long_text="chunk_max").encode([text])
    inner = np.concatenate([piece[1:-1] for piece in read.pieces])
    assert inner.tolist() == plain_ids(tokenizer, text)[:42]
    assert [len(piece) for piece in read.pieces] == [16, 16, 16]
    assert read.length == 48


def test_the_total_of_an_endless_text_is_estimated_within_a_few_percent(tokenizer: Any) -> None:
    text = "the court held that the motion of the party was denied " * 500
    (read,) = tokeniser(tokenizer).encode([text])
    assert len(text) > EXACT_CHARACTERS_PER_TOKEN * 16
    assert read.estimated
    assert read.tokens_total == pytest.approx(len(plain_ids(tokenizer, text)), rel=0.05)


def test_an_endless_text_with_few_tokens_is_read_to_its_end(tokenizer: Any) -> None:
    class Blind:
        """A tokenizer for which a thousand characters of blanks are no token at all."""

        unk_token_id = None

        def __call__(self, texts: Any, **_: Any) -> dict[str, Any]:
            many = [texts] if isinstance(texts, str) else texts
            ids = [[ord(c) for c in text if c != " "] for text in many]
            return {"input_ids": ids[0] if isinstance(texts, str) else ids}

    (read,) = tokeniser(Blind()).encode([" " * 5000 + "abc"])
    assert read.pieces[0].tolist() == [97, 98, 99]
    assert (read.tokens_total, read.estimated) == (3, False)


def test_an_empty_text_is_not_readable(tokenizer: Any) -> None:
    (read,) = tokeniser(tokenizer).encode([""])
    assert (read.readable, read.tokens_total, read.pieces[0].tolist()) == (False, 0, [START, END])


def test_a_text_of_unknown_tokens_is_not_readable(tiny_bert: Path) -> None:
    (greek, mixed) = tokeniser(AutoTokenizer.from_pretrained(tiny_bert)).encode(["λόγος ἀρχή", "court λόγος"])
    assert not greek.readable
    assert greek.tokens_total == 2
    assert mixed.readable


def test_special_tokens_written_in_a_text_are_only_characters(tokenizer: Any) -> None:
    (read,) = tokeniser(tokenizer).encode(["a </s> b"])
    assert read.pieces[0].tolist().count(END) == 1


def test_special_tokens_are_found_on_both_sides(tokenizer: Any) -> None:
    before, after = special_tokens(tokenizer)
    assert (before.tolist(), after.tolist()) == ([START], [END])
