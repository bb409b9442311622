"""What every test session needs before Ray is imported."""

import os

import pytest

# Under `uv run` Ray would start its workers through uv, and nothing would come up.
os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"
# Without this Ray writes a token into the home folder.
os.environ["RAY_AUTH_MODE"] = "disabled"


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
