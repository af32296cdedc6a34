"""How often a bundle's test split was looked at, its training included, in words."""


def looks_at_test(touches: int) -> str:
    """`once: at the end of training`, `3 times: at the end of training and twice since`.

    `touches` are the evaluations since the training, which looked at it first.
    """
    at_first = f"{_times(touches + 1)}: at the end of training"
    return f"{at_first} and {_times(touches)} since" if touches else at_first


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number:,} times")
