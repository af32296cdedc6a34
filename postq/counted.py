"""Numbers with their nouns, so that sentences agree with them: `1 label is`, `1,204 labels are`."""


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 document`, `1,204 documents`; `many` is the whole plural where it is more than an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
