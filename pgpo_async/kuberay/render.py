"""Manifests of a run: from its config and the cluster's settings to objects, and to text.

plan_run       config + settings -> pods, bytes, the config as it is run    `planned_run`
base_objects   -> objects of any cluster
with_overlay   -> objects of one kind of cluster                            `overlays`
as_text        -> YAML, always the same bytes for the same objects
"""

from collections.abc import Sequence

import yaml

from pgpo_async.kuberay.cluster_config import CONFIG_NAME
from pgpo_async.kuberay.labels import INSTANCE, PART_OF, Manifest
from pgpo_async.kuberay.monitors import is_dashboard, monitor_objects
from pgpo_async.kuberay.namespace import namespace_objects, storage_objects
from pgpo_async.kuberay.network import network_policies
from pgpo_async.kuberay.overlays import with_overlay
from pgpo_async.kuberay.planned_run import PlannedRun
from pgpo_async.kuberay.pods import config_map_name
from pgpo_async.kuberay.ray_job import ray_job
from pgpo_async.kuberay.scheduling import priority_classes

FILES = {
    "namespace": ("Namespace", "ServiceAccount"),
    "storage": ("PersistentVolumeClaim",),
    "network": ("NetworkPolicy",),
    "scheduling": ("PriorityClass", "ResourceFlavor", "ClusterQueue", "LocalQueue"),
    "monitors": ("PodMonitor", "PrometheusRule"),
    "config": ("ConfigMap",),
    "ray-job": ("RayJob",),
}
"""Which kinds each file holds, in the order in which a cluster takes them."""


def rendered(run: PlannedRun, overlay: str) -> list[Manifest]:
    """Return the objects of a run. Raises ConfigError for a config that does not suit the overlay."""
    return with_overlay(base_objects(run), run, overlay)


def base_objects(run: PlannedRun) -> list[Manifest]:
    """Return the objects of a run on any cluster."""
    settings = run.settings
    return [
        *namespace_objects(settings),
        *storage_objects(settings),
        *network_policies(settings),
        *priority_classes(settings),
        *monitor_objects(settings),
        _config_map(run),
        ray_job(run.name, settings, run.shapes, run.memory),
    ]


def in_files(objects: Sequence[Manifest]) -> dict[str, list[Manifest]]:
    """Return the objects by the names of their files, dashboards by themselves."""
    files: dict[str, list[Manifest]] = {}
    for name, kinds in FILES.items():
        for found in objects:
            if found["kind"] in kinds:
                name_of = "dashboards" if is_dashboard(found) else name
                files.setdefault(f"{name_of}.yaml", []).append(found)
    return files


def as_text(objects: Sequence[Manifest]) -> str:
    """Return objects as YAML documents."""
    return "".join(f"---\n{as_yaml(found)}" for found in objects)


def as_yaml(value: object) -> str:
    """Return a value as YAML: keys in their order, texts of several lines as such."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return text


def _config_map(run: PlannedRun) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": config_map_name(run.name),
            "namespace": run.settings.namespace,
            "labels": {**PART_OF, INSTANCE: run.name},
        },
        "data": {CONFIG_NAME: run.config_text},
    }


class _Dumper(yaml.SafeDumper):
    """Repeats what is used twice, instead of naming it once and pointing there."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def _as_scalar(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _as_scalar)
