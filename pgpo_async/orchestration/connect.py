"""Starting Ray on this machine, or joining a cluster, so that every process carries the run's id.

Owns what a Ray started here may be reached by: its token authentication is Ray's own default and stays on
(`RAY_AUTH_MODE=disabled` in the environment turns it off), and it listens on the loopback interface alone
unless `ray.listen` says otherwise.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import ray_constants

from pgpo_async.actors.process_mark import RUN_ID_VARIABLE
from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.placement import local_cpus

# Where the processes of one machine listen for each other: collectives of the learner's, vLLM's own.
_ON_LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo", "VLLM_HOST_IP": "127.0.0.1"}


def connect(config: RunConfig, run_id: str) -> None:
    """Start or join Ray, as `config.ray` says."""
    os.environ[RUN_ID_VARIABLE] = run_id
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    shared: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "namespace": run_id}
    if config.ray.address is not None:
        # No runtime environment: it would cost each actor another process's start, and doubles its own.
        ray.init(address=config.ray.address, **shared)
        return
    loopback = config.ray.listen == "loopback"
    # Inherited from this process, as the run's id is.
    with _environment({**_ON_LOOPBACK, **os.environ} if loopback else {}), _node_address(loopback):
        ray.init(
            address="local",  # also where another Ray runs, or one that crashed has left its address
            num_cpus=local_cpus(config, os.cpu_count() or 1),
            object_store_memory=config.ray.object_store_bytes,
            include_dashboard=False,
            **shared,
        )


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Let what is started meanwhile have these variables."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _node_address(loopback: bool) -> Iterator[None]:
    """Let Ray call this machine by its loopback address, or by the one that others reach it at.

    Ray listens on all interfaces unless its node's address is the loopback's, and turns a loopback address
    that it is given into the other one: but on desktops, by this switch.
    """
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = before and not loopback
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
