"""Volumes and where they are mounted: declared, used, one at each path. Called by `checking`."""

from collections.abc import Iterator, Mapping
from typing import Any

from pgpo_async.config.fields import closest
from pgpo_async.config.issues import Path
from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.pods import all_pods, volumes
from pgpo_async.kuberay.check.ray import clusters
from pgpo_async.kuberay.check.values import mapping, mappings, text

OPERATORS_VOLUMES = frozenset({"shared-mem", "ray-logs"})
"""The operator adds them to Ray pods itself, where nothing is mounted at /dev/shm or /tmp/ray."""


def check_mounts(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check the mounts of every container, and those that the operator's autoscaler gets."""
    for pod in all_pods(manifests):
        declared = list(volumes(pod))
        seen: set[str] = set()
        for index, volume in mappings(pod.spec, "volumes"):
            if (name := text(volume, "name")) in seen:
                path = (*pod.spec_path, "volumes", index, "name")
                yield pod.manifest.error(path, f"must be a name of its own, got {name!r} twice")
            seen.add(text(volume, "name"))
        for container in pod.containers:
            yield from _check(pod.manifest, container.path, container.body, declared)
    for cluster in clusters(manifests):
        spec = mapping(cluster.head.body, "template", "spec")
        declared = [text(volume, "name") for _, volume in mappings(spec, "volumes")]
        path = (*cluster.path, "autoscalerOptions")
        options = mapping(cluster.spec, "autoscalerOptions")
        yield from _check(cluster.manifest, path, options, [*declared, *sorted(OPERATORS_VOLUMES)])


def _check(
    manifest: Manifest, path: Path, holder: Mapping[str, Any], declared: list[str]
) -> Iterator[Finding]:
    mounted: set[str] = set()
    for index, mount in mappings(holder, "volumeMounts"):
        here = (*path, "volumeMounts", index)
        name, where = text(mount, "name"), text(mount, "mountPath").rstrip("/")
        if name and name not in declared:
            meant = closest(name, declared)
            hint = f", did you mean {meant!r}?" if meant else ""
            yield manifest.error((*here, "name"), f"must be a volume of the pod, got {name!r}{hint}")
        if where and where in mounted:
            yield manifest.error((*here, "mountPath"), f"must be a path of its own, got {where!r} twice")
        mounted.add(where)
