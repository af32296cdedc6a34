"""Loaded by runners under test: documents with a marked word raise, crash, hang, lag or eat memory.

It wraps the functions that every scoring goes through, after their modules were imported; nothing of postq
knows about it. Processes that never import these are not touched.
"""

import importlib.abc
import importlib.util
import os
import pathlib
import signal
import sys
import time

TARGETS = {
    "postq.learning.tfidf.model": ("TfidfModel", "score"),
    "postq.learning.encoder.tokens.tokeniser": ("TextTokeniser", "encode"),
}
"""Module → the class and its method that is given texts."""


def _act_on(text: str) -> None:
    if "poisonraise" in text:
        raise ValueError("this document is poison")
    if "poisoncrash" in text:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "poisononce" in text and not (killed := pathlib.Path(os.environ["POISON_ONCE"])).exists():
        killed.touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    if "poisonslow" in text:
        time.sleep(0.3)
    if "poisonhang" in text:
        time.sleep(100_000)
    if "poisongreed" in text:
        hoard = []
        while True:
            hoard.append(b"x" * (32 * 2**20))
    if "poisonmemory" in text:
        raise MemoryError


def _wrap(module: object, name: str, method: str) -> None:
    owner = getattr(module, name)
    plain = getattr(owner, method)

    def wrapped(self: object, texts: list[str]) -> object:
        for text in texts:
            _act_on(text)
        return plain(self, texts)

    setattr(owner, method, wrapped)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds each target once, by the finders after this one, and wraps it when it was loaded."""

    def __init__(self) -> None:
        self._left = dict(TARGETS)

    def find_spec(self, name: str, path: object, target: object = None) -> object:
        wanted = self._left.pop(name, None)
        if wanted is None:
            return None
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def exec_module(module: object) -> None:
            load(module)  # type: ignore[arg-type]
            _wrap(module, *wanted)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Finder())
