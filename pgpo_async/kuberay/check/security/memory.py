"""Memory: what each container asks for and may use, and what lies in shared memory. Called by `checking`.

A file in a memory `emptyDir` counts as memory of the container that writes it: a volume larger than the
container's limit is one whose last bytes kill it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.pods import Container, Pod, all_pods, volumes
from pgpo_async.kuberay.check.quantities import quantity
from pgpo_async.kuberay.check.values import mapping, mappings, part, text

SHARED_MEMORY = "/dev/shm"


def check_memory(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check every container of every pod template."""
    for pod in all_pods(manifests):
        for container in pod.containers:
            if "ephemeralContainers" not in container.path:
                yield from _check_bounds(pod, container)
                yield from _check_mounts(pod, container)
        yield from _check_sizes(pod)


def _check_bounds(pod: Pod, container: Container) -> Iterator[Finding]:
    amounts = {}
    for key in ("requests", "limits"):
        path = (*container.path, "resources", key, "memory")
        written = part(container.body, "resources", key, "memory")
        amounts[key] = quantity(written)
        if written is None:
            yield pod.manifest.error(
                path, "is missing: without it the node may kill others for this container"
            )
        elif amounts[key] is None:
            yield pod.manifest.error(path, f"must be a quantity such as 4Gi, got {written!r}")
    for name, written in mapping(container.body, "resources", "requests").items():
        limit = part(container.body, "resources", "limits", name)
        asked, most = quantity(written), quantity(limit)
        if asked is not None and most is not None and asked > most:
            path = (*container.path, "resources", "requests", str(name))
            yield pod.manifest.error(path, f"must be at most the limit ({limit}), got {written}")


def _check_sizes(pod: Pod) -> Iterator[Finding]:
    for index, volume in mappings(pod.spec, "volumes"):
        if not in_memory(volume):
            continue
        path = (*pod.spec_path, "volumes", index, "emptyDir", "sizeLimit")
        written = part(volume, "emptyDir", "sizeLimit")
        if written is None:
            yield pod.manifest.error(path, "is missing: it could grow until the node kills the pod")
        elif quantity(written) is None:
            yield pod.manifest.error(path, f"must be a quantity such as 4Gi, got {written!r}")


def _check_mounts(pod: Pod, container: Container) -> Iterator[Finding]:
    all_volumes = volumes(pod)
    limit = quantity(part(container.body, "resources", "limits", "memory"))
    shared = None
    for index, mount in mappings(container.body, "volumeMounts"):
        volume = all_volumes.get(text(mount, "name"), {})
        if text(mount, "mountPath").rstrip("/") == SHARED_MEMORY:
            shared = index
            if container.is_ray and volume and not in_memory(volume):
                path = (*container.path, "volumeMounts", index)
                yield pod.manifest.error(
                    path, "must be an emptyDir with medium: Memory: Ray's objects lie there"
                )
        size = quantity(part(volume, "emptyDir", "sizeLimit")) if in_memory(volume) else None
        if size is not None and limit is not None and size > limit:
            path = (*container.path, "volumeMounts", index)
            yield pod.manifest.error(
                path,
                f"the volume {text(mount, 'name')} is in memory and may grow to "
                f"{part(volume, 'emptyDir', 'sizeLimit')}, must be at most the container's memory limit "
                f"({part(container.body, 'resources', 'limits', 'memory')})",
            )
    if container.is_ray and shared is None:
        yield pod.manifest.error(
            (*container.path, "volumeMounts"),
            f"must have a memory volume at {SHARED_MEMORY}: weights and Ray's objects lie there",
        )


def in_memory(volume: Mapping[str, Any]) -> bool:
    """Whether a volume is of memory."""
    return text(volume, "emptyDir", "medium") == "Memory"
