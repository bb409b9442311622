"""The overlays: what a kind of cluster changes of a run's manifests.

    base         any cluster; GPUs as the config asks for them
    cpu-demo     the demo on one small machine (kind, minikube): no GPU, no priorities, nothing asked outside
    gpu          GPU nodes with taints; generators and scorers also on nodes that may be taken back
    autoscaled   `gpu`, and Ray's autoscaler follows `pgpo-async scale`
    kueue        `gpu`, started whole by Kueue once there is quota for all of it

Each is a function that changes a copy of the objects. Owns their names and their defaults of settings.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pgpo_async.contracts import ConfigError
from pgpo_async.kuberay.autoscaling import autoscaled
from pgpo_async.kuberay.labels import Manifest
from pgpo_async.kuberay.planned_run import PlannedRun
from pgpo_async.kuberay.queueing import queued
from pgpo_async.kuberay.scheduling import gpu_nodes

Objects = list[Manifest]
BASE = "base"
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "cpu-demo": {
        "name": "pgpo-demo",
        "image": "pgpo-async:0.1.0-cpu",
        "head": {"cpus": 0.5},
        "generator": {"spot": False},
        "scorer": {"spot": False},
        "storage": {"access_mode": "ReadWriteOnce", "size": "5Gi", "scratch": "5Gi"},
        "job": {"ttl_s": 3600},
        "network": {"egress_ports": []},
        "scheduling": {"priority_classes": False},
    }
}
"""Settings that an overlay has unless the user says otherwise."""
STANDS_ON: Mapping[str, str] = {"autoscaled": "gpu", "kueue": "gpu"}
"""Overlays that hold all of another."""


def with_overlay(objects: Sequence[Manifest], run: PlannedRun, overlay: str) -> Objects:
    """Return the objects as an overlay wants them. Raises ConfigError for a config that does not suit it."""
    changed = copy.deepcopy(list(objects))
    for change in OVERLAYS[overlay]:
        change(changed, run)
    return changed


def _on_cpus(_objects: Objects, run: PlannedRun) -> None:
    issues = [
        f"{shape.role}.gpus: must be 0 for the overlay cpu-demo, did you mean --overlay gpu? "
        f"Got {getattr(run.config, shape.role).gpus:g}"
        for shape in run.shapes
        if shape.gpus
    ]
    if issues:
        raise ConfigError(issues)


def _on_gpu_nodes(objects: Objects, run: PlannedRun) -> None:
    if not any(shape.gpus for shape in run.shapes):
        raise ConfigError(
            f"--overlay: no role of {run.name} asks for GPUs (learner.gpus, ...); did you mean cpu-demo?"
        )
    for group, shape in zip(run.groups_of(objects), run.shapes, strict=True):
        group["template"]["spec"] |= gpu_nodes(shape, run.settings)


OVERLAYS: Mapping[str, Sequence[Callable[[Objects, PlannedRun], None]]] = {
    BASE: (),
    "cpu-demo": (_on_cpus,),
    "gpu": (_on_gpu_nodes,),
    "autoscaled": (_on_gpu_nodes, autoscaled),
    "kueue": (_on_gpu_nodes, queued),
}
"""What each changes, in this order."""
