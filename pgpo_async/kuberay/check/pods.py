"""Every pod template of the folder, and the labels that its pods will have.

Owns where templates lie, in any kind, and what KubeRay adds to their labels. Read by `security` and
`references`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pgpo_async.config.issues import Path
from pgpo_async.kuberay.check.manifest import Manifest
from pgpo_async.kuberay.check.ray import Cluster, Group, cluster_of
from pgpo_async.kuberay.check.values import entries, mapping, mappings, part, text, texts

GENERATED_LABELS = frozenset({"ray.io/cluster", "ray.io/identifier"})
"""Labels whose value holds a name that is made up when the job runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Container:
    """One container of a template."""

    path: Path
    body: Mapping[str, Any]
    is_ray: bool = False
    """Whether Ray runs in it."""

    @property
    def name(self) -> str:
        """The container's name."""
        return text(self.body, "name")


@dataclass(frozen=True, kw_only=True, slots=True)
class Pod:
    """One template, and what its pods are for."""

    manifest: Manifest
    path: Path
    """Of what has `metadata` and `spec`; () where the object is a Pod itself."""
    template: Mapping[str, Any]
    cluster: Cluster | None = None
    group: Group | None = None
    """The Ray group whose nodes these pods are; None for all others."""
    added_labels: Mapping[str, str] = field(default_factory=dict)
    generated_labels: frozenset[str] = frozenset()

    @property
    def spec(self) -> Mapping[str, Any]:
        """The pod's `spec`."""
        return mapping(self.template, "spec")

    @property
    def spec_path(self) -> Path:
        """Where that lies."""
        return (*self.path, "spec")

    @property
    def labels(self) -> dict[str, str]:
        """The labels that are known before the pod runs."""
        return {**texts(self.template, "metadata", "labels"), **self.added_labels}

    @property
    def containers(self) -> list[Container]:
        """Containers that start first, and those that stay."""
        return [
            Container(
                path=(*self.spec_path, kind, index),
                body=body,
                is_ray=self.group is not None and kind == "containers" and index == 0,
            )
            for kind in ("initContainers", "containers", "ephemeralContainers")
            for index, body in mappings(self.spec, kind)
        ]


def all_pods(manifests: Iterable[Manifest]) -> list[Pod]:
    """Return every template of these objects."""
    return [pod for manifest in manifests for pod in _pods(manifest)]


def _pods(manifest: Manifest) -> Iterator[Pod]:
    cluster = cluster_of(manifest)
    by_path = {(*group.path, "template"): group for group in cluster.groups} if cluster else {}
    for path, template in _templates(manifest.body, ()):
        group = by_path.get(path)
        if cluster is None or group is None:
            yield Pod(manifest=manifest, path=path, template=template)
            continue
        yield Pod(
            manifest=manifest,
            path=path,
            template=template,
            cluster=cluster,
            group=group,
            added_labels={**group.labels, **_operators_labels(cluster, group)},
            generated_labels=GENERATED_LABELS,
        )


def _operators_labels(cluster: Cluster, group: Group) -> dict[str, str]:
    labels = {
        "ray.io/is-ray-node": "yes",
        "ray.io/node-type": "head" if group.is_head else "worker",
        "ray.io/group": group.name,
        "app.kubernetes.io/name": "kuberay",
        "app.kubernetes.io/created-by": "kuberay-operator",
    }
    if cluster.manifest.kind == "RayCluster":
        labels["ray.io/cluster"] = cluster.manifest.name
    return labels


def _templates(value: Any, path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Whatever has a `spec` with a list of containers, wherever it is."""
    if isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _templates(entry, (*path, index))
    elif isinstance(value, Mapping):
        if isinstance(part(value, "spec", "containers"), list):
            yield path, value
            return
        for key, entry in value.items():
            yield from _templates(entry, (*path, key))


def volumes(pod: Pod) -> dict[str, Mapping[str, Any]]:
    """Return the pod's volumes by their names."""
    return {text(volume, "name"): volume for _, volume in mappings(pod.spec, "volumes")}


def service_account_token_volumes(pod: Pod) -> list[str]:
    """Return the volumes that bring a service account's token on purpose."""
    return [
        name
        for name, volume in volumes(pod).items()
        if any(mapping(source, "serviceAccountToken") for source in entries(volume, "projected", "sources"))
    ]
