"""What every test session needs before Ray is imported."""

import os

import pytest
from hypothesis import settings

# Under `uv run` Ray would start its workers through uv, and nothing would come up.
os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
# Without this Ray writes a token into the home folder.
os.environ["RAY_AUTH_MODE"] = "disabled"


# How long an example takes says more about the machine than about the code.
settings.register_profile("default", deadline=None)
settings.load_profile("default")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Two processes: clusters one after another in the one, unit tests file by file beside them."""
    from xdist.scheduler import LoadScopeScheduling

    class Clusters(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            path = nodeid.partition("::")[0]
            return "clusters" if path.startswith("tests/integration/") else path

    return Clusters(config, log)


@pytest.fixture(scope="module")
def local_ray_environment():
    """Leave the variables that a run sets as they were, and no Ray behind."""
    import ray

    before = dict(os.environ)
    assert not ray.is_initialized()
    yield
    ray.shutdown()
    os.environ.clear()
    os.environ.update(before)
