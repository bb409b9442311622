"""Which nodes a run's pods go to, and who goes first where room is short."""

from typing import Any

from pgpo_async.kuberay.labels import COMPONENT, HEAD, INSTANCE, PART_OF, Manifest
from pgpo_async.kuberay.settings import Settings
from pgpo_async.kuberay.shape import GroupShape

PRIORITIES = {HEAD: 100_300, "learner": 100_200, "scorer": 100_100, "generator": 100_000}
"""The head and the learner hold what is dear to lose; a generator that goes costs the prompts it works on."""


def priority_class(component: str, settings: Settings) -> dict[str, Any]:
    """Return the pod's fields."""
    return {"priorityClassName": f"pgpo-async-{component}"} if settings.scheduling.priority_classes else {}


def priority_classes(settings: Settings) -> list[Manifest]:
    """Return the classes; they are the cluster's, shared by all runs."""
    if not settings.scheduling.priority_classes:
        return []
    return [
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": f"pgpo-async-{component}", "labels": dict(PART_OF)},
            "value": value,
            "globalDefault": False,
            "preemptionPolicy": "PreemptLowerPriority" if component in (HEAD, "learner") else "Never",
            "description": f"pgpo_async: {component}",
        }
        for component, value in PRIORITIES.items()
    ]


def learner_affinity(run: str, settings: Settings) -> dict[str, Any]:
    """Return the pod's fields that keep a run's ranks together: collectives wait for the slowest."""
    same = {"matchLabels": {INSTANCE: run, COMPONENT: "learner"}}
    term = {"labelSelector": same, "topologyKey": settings.scheduling.topology_key}
    return {"affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}


def gpu_nodes(shape: GroupShape, settings: Settings) -> dict[str, Any]:
    """Return the pod's fields that lead it to GPU nodes, and to those that may be taken back if it may."""
    scheduling = settings.scheduling
    taints = [*(scheduling.gpu_tolerations if shape.gpus else ())]
    taints += scheduling.spot_tolerations if shape.spot else ()
    found: dict[str, Any] = {"tolerations": [_toleration(taint) for taint in taints]} if taints else {}
    if shape.gpus and scheduling.node_labels:
        found["nodeSelector"] = dict(scheduling.node_labels)
    return found


def _toleration(taint: str) -> Manifest:
    key, equals, value = taint.partition("=")
    if not equals:
        return {"key": key, "operator": "Exists"}
    return {"key": key, "operator": "Equal", "value": value}
