"""Building the compiled functions anew, and loading what was built."""

import subprocess
import sysconfig
import tomllib
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

ROOT = Path(__file__).parents[4]
AS_LIBRARY = ("-std=gnu11", "-fopenmp", "-fvisibility=hidden", "-fPIC", "-shared")


def build_functions(file, *flags):
    """Build them with gcc into `file`, which names the build (`_avx2`, `_avx512` or `_amx`)."""
    sources, kind = _recipe(build_name(file))
    include = f"-I{sysconfig.get_paths()['include']}"
    subprocess.run(["gcc", *AS_LIBRARY, *flags, *kind, include, *sources, "-o", file, "-lm"], check=True)


def _recipe(build):
    """A build's sources and its own flags, as the package is built from them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    modules = project["tool"]["setuptools"]["ext-modules"]
    found = next(module for module in modules if module["name"].endswith(f".{build}"))
    kind = [flag for flag in found["extra-compile-args"] if flag.startswith("-D")]
    return [ROOT / source for source in found["sources"]], kind


def build_name(file):
    """The name of the module in a file."""
    return Path(file).name.partition(".")[0]


def load_functions(file):
    """The module of a file."""
    name = build_name(file)
    loader = ExtensionFileLoader(name, str(file))
    functions = module_from_spec(spec_from_loader(name, loader))
    loader.exec_module(functions)
    return functions
