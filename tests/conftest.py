"""What every test session needs before Ray is imported."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Under `uv run` Ray would start its workers through uv, and nothing would come up.
os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
# Without this Ray writes a token into the home folder.
os.environ["RAY_AUTH_MODE"] = "disabled"


# How long an example takes says more about the machine than about the code.
settings.register_profile("default", deadline=None)
settings.load_profile("default")

CLUSTERS = Path(__file__).parent / "integration"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Two processes: clusters one after another in the one, unit tests file by file beside them."""
    for item in items:
        group = "clusters" if item.path.is_relative_to(CLUSTERS) else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


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
