"""What is wrong with a value is said in few words, whoever found it."""

import pytest

from postq.unfit import in_few_words


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (
            "Input should be a valid integer, unable to parse string as an integer",
            "it must be a whole number",
        ),
        ("Input should be a valid number, unable to parse string as a number", "it must be a number"),
        ("Input should be greater than or equal to 1", "it must be at least 1"),
        ("Input should be less than or equal to 1000", "it must be at most 1000"),
        ("Input should be less than 1", "it must be less than 1"),
        ("Input should be 'one' or 'all'", "it must be 'one' or 'all'"),
        ("Value error, 'two' is not one of 'one', 'all'.", "'two' is not one of 'one', 'all'."),
        ("No such option: --stat", "No such option: --stat"),
    ],
)
def test_sentences_of_validators_are_shortened(found: str, told: str) -> None:
    assert in_few_words(found) == told
