"""Loaded by runners under test: documents with a marked word raise, crash, hang, lag or eat memory.

It wraps the function every TF-IDF scoring goes through, after that module was imported; nothing of postq
knows about it. Processes that never import the module are not touched.
"""

import importlib.abc
import importlib.util
import os
import signal
import sys
import time

TARGET = "postq.learning.tfidf.model"


def _act_on(text: str) -> None:
    if "poisonraise" in text:
        raise ValueError("this document is poison")
    if "poisoncrash" in text:
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


def _wrap(module: object) -> None:
    model = module.TfidfModel  # type: ignore[attr-defined]
    plain = model.score

    def score(self: object, texts: list[str]) -> object:
        for text in texts:
            _act_on(text)
        return plain(self, texts)

    model.score = score


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the target once, by the finders after this one, and wraps it when it was loaded."""

    def find_spec(self, name: str, path: object, target: object = None) -> object:
        if name != TARGET:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        load = spec.loader.exec_module

        def exec_module(module: object) -> None:
            load(module)  # type: ignore[arg-type]
            _wrap(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _Finder())
