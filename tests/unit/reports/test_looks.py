"""How often a test split was looked at counts the training's own look."""

import pytest

from postq.reports.looks import looks_at_test


@pytest.mark.parametrize(
    ("touches", "words"),
    [
        (0, "once: at the end of training"),
        (1, "twice: at the end of training and once since"),
        (2, "3 times: at the end of training and twice since"),
        (1200, "1,201 times: at the end of training and 1,200 times since"),
    ],
)
def test_looks_are_counted_from_the_training_on(touches: int, words: str) -> None:
    assert looks_at_test(touches) == words
