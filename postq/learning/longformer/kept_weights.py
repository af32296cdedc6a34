"""Weights kept in another form from one forward to the next, for scoring."""

from collections.abc import Callable, MutableMapping
from typing import Any, TypeVar, cast
from weakref import ref

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

Form = TypeVar("Form")
_Seen = tuple[tuple[Callable[[], Tensor | None], int, int], ...]
"""Of each weight a weak reference, where its numbers lie and how often they were changed in place."""


class KeptWeights:
    """What was made of weights, each in one form at a time: as much memory as those, or half of it.

    It is made anew when a weight was changed in place (`_version`), its storage replaced, or another weight
    put in its place, maybe at its very address; and it goes with the (first) weight.
    """

    def __init__(self) -> None:
        self._kept: MutableMapping[Tensor, tuple[object, _Seen, Any]] = WeakTensorKeyDictionary()

    def form(self, make: Callable[..., Form], *weights: Tensor) -> Form:
        """`make(*weights)`, or what it gave before."""
        seen: _Seen = tuple((ref(weight), weight.data_ptr(), weight._version) for weight in weights)
        known = self._kept.get(weights[0])
        if known is None or known[:2] != (make, seen):
            known = self._kept[weights[0]] = (make, seen, make(*weights))
        return cast(Form, known[2])

    def forget(self) -> None:
        """Drop them all."""
        self._kept.clear()
