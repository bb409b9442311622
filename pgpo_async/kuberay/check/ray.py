"""Ray clusters as the KubeRay operator sees them: their groups, Ray containers, autoscaling.

Owns where these lie in a RayJob or RayCluster; knows no rule. Read by `pods`, `operator`, `security`,
`references` and `run`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pgpo_async.config.issues import Path
from pgpo_async.kuberay.check.manifest import Manifest
from pgpo_async.kuberay.check.values import mapping, mappings, named, part, text, texts

RAY_API = "ray.io"
HEAD_GROUP = "headgroup"
"""What the operator calls the head's group in the label `ray.io/group`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """The head, or one worker group."""

    path: Path
    body: Mapping[str, Any]
    is_head: bool

    @property
    def name(self) -> str:
        """As the label `ray.io/group` says it."""
        return HEAD_GROUP if self.is_head else text(self.body, "groupName")

    @property
    def labels(self) -> dict[str, str]:
        """Labels of the group, which its pods and its Ray nodes get."""
        return texts(self.body, "labels")

    @property
    def ray_container(self) -> Mapping[str, Any]:
        """The container that Ray runs in: the first."""
        return mapping(self.body, "template", "spec", "containers", 0)

    @property
    def ray_container_path(self) -> Path:
        """Where that container lies."""
        return (*self.path, "template", "spec", "containers", 0)

    @property
    def env(self) -> dict[str, Mapping[str, Any]]:
        """Environment variables of the Ray container by their names."""
        return named(self.ray_container, "env")

    @property
    def ray_start_params(self) -> Mapping[str, Any]:
        """What is handed to `ray start`."""
        return mapping(self.body, "rayStartParams")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """The cluster of a RayJob, or a RayCluster."""

    manifest: Manifest
    path: Path
    spec: Mapping[str, Any]

    @property
    def head(self) -> Group:
        """The head's group."""
        body = mapping(self.spec, "headGroupSpec")
        return Group(path=(*self.path, "headGroupSpec"), body=body, is_head=True)

    @property
    def workers(self) -> list[Group]:
        """The worker groups."""
        return [
            Group(path=(*self.path, "workerGroupSpecs", index), body=body, is_head=False)
            for index, body in mappings(self.spec, "workerGroupSpecs")
        ]

    @property
    def groups(self) -> list[Group]:
        """The head, then the worker groups."""
        return [self.head, *self.workers]

    @property
    def autoscaling(self) -> bool:
        """Whether Ray's autoscaler sets the number of workers."""
        return part(self.spec, "enableInTreeAutoscaling") is True

    @property
    def autoscaler_v2(self) -> bool:
        """Whether it is the second version, by the field that says so."""
        return self.autoscaling and part(self.spec, "autoscalerOptions", "version") == "v2"

    @property
    def annotations(self) -> dict[str, str]:
        """Annotations that the operator reads: a RayJob's are its cluster's."""
        return texts(self.manifest.body, "metadata", "annotations")


def ray_jobs(manifests: Iterable[Manifest]) -> Iterator[Manifest]:
    """Iterate the RayJobs."""
    return (manifest for manifest in manifests if manifest.is_a(RAY_API, "RayJob"))


def cluster_of(manifest: Manifest) -> Cluster | None:
    """Return the cluster that a RayJob or a RayCluster describes; None where it describes none."""
    if manifest.is_a(RAY_API, "RayCluster"):
        path: Path = ("spec",)
    elif manifest.is_a(RAY_API, "RayJob"):
        path = ("spec", "rayClusterSpec")
    else:
        return None
    spec = part(manifest.body, *path)
    return Cluster(manifest=manifest, path=path, spec=spec) if isinstance(spec, Mapping) else None


def clusters(manifests: Iterable[Manifest]) -> Iterator[Cluster]:
    """Iterate the clusters that are described."""
    return (cluster for manifest in manifests if (cluster := cluster_of(manifest)) is not None)
