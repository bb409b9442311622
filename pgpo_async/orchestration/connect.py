"""Starting Ray on this machine, or joining a cluster, so that every process carries the run's id."""

import os
from typing import Any

import ray

from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.placement import local_cpus

RUN_ID_VARIABLE = "PGPO_ASYNC_RUN_ID"
"""Environment variable of all processes of a run: what is left of it can be found by it."""


def connect(config: RunConfig, run_id: str) -> None:
    """Start or join Ray, as `config.ray` says."""
    os.environ[RUN_ID_VARIABLE] = run_id
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    shared: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": "ERROR",
        "namespace": run_id,
        "runtime_env": {"env_vars": {RUN_ID_VARIABLE: run_id, "TOKENIZERS_PARALLELISM": "false"}},
    }
    if config.ray.address is not None:
        ray.init(address=config.ray.address, **shared)
        return
    ray.init(
        num_cpus=local_cpus(config, os.cpu_count() or 1),
        object_store_memory=config.ray.object_store_bytes,
        include_dashboard=False,
        **shared,
    )
