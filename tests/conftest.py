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
    """Two processes: in one real engines, one run after another; in the other, clusters without any.

    Who is done first goes on with the unit tests, file by file.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Folders(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            path = nodeid.partition("::")[0]
            folder = "/".join(path.split("/")[:2])
            return folder if folder in ("tests/end_to_end", "tests/integration") else path

    return Folders(config, log)


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
