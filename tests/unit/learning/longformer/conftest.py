"""Each build of the compiled functions in turn."""

import pytest

from postq.learning.longformer import compiled, native, products
from postq.learning.longformer.compiled import load_builds

BUILDS = {build.__name__.rpartition(".")[2]: build for build in load_builds()[0] if build.available()}


@pytest.fixture(scope="module", params=list(BUILDS) or ["none"])
def build(request):
    """Puts one of those that this processor runs in charge."""
    if not BUILDS:
        pytest.skip("no build of the compiled functions runs here")
    with pytest.MonkeyPatch.context() as patch:
        for module in (compiled, native, products):
            patch.setattr(module, "compiled", BUILDS[request.param])
        yield BUILDS[request.param]
