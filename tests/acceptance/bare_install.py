"""Runs `postq` as on a bare install: packages that only an extra would bring cannot be imported.

python tests/acceptance/bare_install.py corpus list
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from types import ModuleType

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def bare_distributions() -> set[str]:
    """Every distribution that `pip install postq`, without extras, would bring."""
    found: set[str] = set()
    waiting = [Requirement("postq")]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        if name not in found or wanted.extras:
            found.add(name)
            waiting += _needs(wanted)
    return found


def _needs(wanted: Requirement) -> list[Requirement]:
    try:
        texts = requires(wanted.name) or []
    except PackageNotFoundError:
        return []  # behind a marker of another platform
    needs = [Requirement(text) for text in texts]
    extras = ["", *wanted.extras]
    return [
        need for need in needs if not need.marker or any(need.marker.evaluate({"extra": e}) for e in extras)
    ]


class Absent(MetaPathFinder):
    """Refuses every top-level module that belongs to none of the given distributions only."""

    def __init__(self, present: set[str]) -> None:
        owners = packages_distributions()
        self.names = {
            module
            for module, distributions in owners.items()
            if not present & {canonicalize_name(name) for name in distributions}
        }

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is None and fullname in self.names:
            raise ModuleNotFoundError(f"No module named {fullname!r} on a bare install", name=fullname)
        return None


if __name__ == "__main__":
    sys.meta_path.insert(0, Absent(bare_distributions()))
    from postq.cli.app import main

    main()
