"""Building the compiled functions anew, and loading what was built."""

import subprocess
import sysconfig
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

SOURCES = sorted((Path(__file__).parents[4] / "postq/learning/longformer/native").glob("*.c"))
AS_LIBRARY = ("-std=gnu11", "-fopenmp", "-fvisibility=hidden", "-fPIC", "-shared")


def build_functions(file, *flags):
    """Build them with gcc into `file`, which names the build (`_avx2` or `_avx512`)."""
    kind = ["-DPOSTQ_AVX2"] if build_name(file) == "_avx2" else []
    include = f"-I{sysconfig.get_paths()['include']}"
    subprocess.run(["gcc", *AS_LIBRARY, *flags, *kind, include, *SOURCES, "-o", file, "-lm"], check=True)


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
