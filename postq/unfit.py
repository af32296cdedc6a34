"""Why a value does not fit, in few words: pydantic's and Typer's sentences, shortened for a command line."""

import re

WORDS = (
    (re.compile(r"value error, ", re.IGNORECASE), ""),
    (re.compile(r"input should be a valid integer.*", re.IGNORECASE), "it must be a whole number"),
    (re.compile(r"input should be a valid number.*", re.IGNORECASE), "it must be a number"),
    (re.compile(r"input should be a valid boolean.*", re.IGNORECASE), "it must be true or false"),
    (re.compile(r"input should be a valid tuple.*", re.IGNORECASE), "it must be a list, such as [1, 2]"),
    (re.compile(r"input should be a valid string.*", re.IGNORECASE), "it must be text"),
    (re.compile(r"input should be greater than or equal to (\S+)", re.IGNORECASE), r"it must be at least \1"),
    (re.compile(r"input should be less than or equal to (\S+)", re.IGNORECASE), r"it must be at most \1"),
    (re.compile(r"input should be (greater|less) than (\S+)", re.IGNORECASE), r"it must be \1 than \2"),
    (re.compile(r"input should be ", re.IGNORECASE), "it must be "),
)


def in_few_words(sentence: str) -> str:
    """`it must be a whole number` for `Input should be a valid integer, unable to parse …`."""
    for pattern, words in WORDS:
        sentence = pattern.sub(words, sentence)
    return sentence
