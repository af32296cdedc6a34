"""What is imported is declared, what is declared is pinned, and the bare install stays bare."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = SETTINGS["project"]
HEAVY = {"torch", "transformers", "tokenizers", "scikit-learn", "scipy", "safetensors"}
SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}"
    r"|hf_[A-Za-z0-9]{34}|sk-[A-Za-z0-9_-]{40}"
)


def requirements(*extras: str) -> list[Requirement]:
    """The requirements of the bare install and of `extras`, without references to postq's own extras."""
    texts = list(PROJECT["dependencies"])
    for extra in extras:
        texts += PROJECT["optional-dependencies"][extra]
    return [found for found in map(Requirement, texts) if found.name != "postq"]


def all_requirements() -> list[Requirement]:
    return requirements(*PROJECT["optional-dependencies"])


def pins() -> dict[str, Version]:
    """Every pinned version by normalised name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def imported_packages() -> Iterator[tuple[str, Path]]:
    """Top-level names of other people's packages that postq imports, anywhere in its files."""
    for file in sorted((ROOT / "postq").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            for name in {name.partition(".")[0] for name in names} - {"postq"} - sys.stdlib_module_names:
                yield name, file


def test_every_package_that_is_imported_is_declared() -> None:
    declared = {canonicalize_name(found.name) for found in all_requirements()}
    owners = packages_distributions()
    undeclared = {
        f"{name} in {file.relative_to(ROOT)}"
        for name, file in imported_packages()
        if not declared & {canonicalize_name(owner) for owner in owners.get(name, [name])}
    }
    assert undeclared == set()


@pytest.mark.parametrize("requirement", all_requirements(), ids=str)
def test_every_requirement_is_pinned_to_a_version_it_allows(requirement: Requirement) -> None:
    pinned = pins()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pinned)


def test_torch_is_pinned_so_that_any_index_may_serve_its_own_build() -> None:
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()


def test_the_bare_install_brings_no_learning_library() -> None:
    bare = {canonicalize_name(found.name) for found in requirements()}
    assert bare & HEAVY == set()


def test_the_extra_named_all_covers_every_extra_but_the_tools() -> None:
    extras = PROJECT["optional-dependencies"]
    (everything,) = map(Requirement, extras["all"])
    covered = everything.extras | {
        inner for extra in everything.extras for inner in _own_extras(extras[extra])
    }
    assert covered == set(extras) - {"all", "dev"}


def _own_extras(texts: list[str]) -> Iterator[str]:
    for found in map(Requirement, texts):
        if found.name == "postq":
            yield from found.extras


def test_no_key_or_access_token_lies_in_the_checkout() -> None:
    folders = [ROOT / name for name in ("postq", "tests", "docs", "demo", "benchmarks", "deploy", ".ci")]
    files = [*ROOT.glob("*.*"), *(path for folder in folders for path in folder.rglob("*") if path.is_file())]
    texts = [path for path in files if path.is_file() and path.suffix not in (".pyc", ".gz", ".parquet")]
    assert [path.name for path in texts if SECRETS.search(path.read_text(errors="replace"))] == []


def test_every_file_of_the_compiled_functions_is_declared():
    """One left out of a source distribution fails its build, which is no error for whoever installs it."""
    folder = ROOT / "postq/learning/longformer/native"
    modules = SETTINGS["tool"]["setuptools"]["ext-modules"]
    assert {ROOT / name for module in modules for name in module["sources"]} == set(folder.glob("*.c"))
    for module in modules:
        assert {ROOT / name for name in module["depends"]} == set(folder.glob("*.h"))
