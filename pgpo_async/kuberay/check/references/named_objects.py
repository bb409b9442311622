"""Objects that are named but are not in the folder. Called by `checking`.

A ConfigMap holds this run's config, so it belongs to the folder: its absence is an error. Claims, accounts,
priorities, queues and Secrets may be the cluster's already: a warning.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pgpo_async.config.fields import closest
from pgpo_async.config.issues import Path
from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.pods import Pod, all_pods
from pgpo_async.kuberay.check.ray import clusters
from pgpo_async.kuberay.check.schemas.kueue import API_GROUP as KUEUE
from pgpo_async.kuberay.check.values import mapping, mappings, part, text
from pgpo_async.kuberay.labels import QUEUE_LABEL

LARGEST_CONFIG_MAP = 1 << 20
PRIORITY = "scheduling.k8s.io"
BUILT_IN = {
    ("ServiceAccount", "default"),
    ("PriorityClass", "system-cluster-critical"),
    ("PriorityClass", "system-node-critical"),
    ("ConfigMap", "kube-root-ca.crt"),
}


class _Reference(NamedTuple):
    path: Path
    group: str
    kind: str
    name: str
    optional: bool = False
    everywhere: bool = False
    """Whether the kind has no namespace."""


def check_named_objects(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check every name of another object, each once an object, and the size of the ConfigMaps."""
    there = {(each.api_group, each.kind, each.namespace, each.name) for each in manifests}
    for manifest in manifests:
        told: set[tuple[str, str]] = set()
        for reference in _references(manifest):
            namespace = "" if reference.everywhere else manifest.namespace
            named = (reference.kind, reference.name)
            if not reference.name or reference.optional or named in BUILT_IN or named in told:
                continue
            if (reference.group, reference.kind, namespace, reference.name) in there:
                continue
            told.add(named)
            yield _absent(manifest, reference, manifests)
        yield from _check_size(manifest)


def _absent(manifest: Manifest, reference: _Reference, manifests: list[Manifest]) -> Finding:
    absent = f"{reference.kind} {reference.name!r} is not in the folder"
    if reference.kind != "ConfigMap":
        return manifest.warning(reference.path, f"{absent}: it must exist in the cluster")
    beside = [each for each in manifests if each.namespace == manifest.namespace]
    meant = closest(reference.name, [each.name for each in beside if each.is_a("", "ConfigMap")])
    return manifest.error(reference.path, absent + (f", did you mean {meant!r}?" if meant else ""))


def _references(manifest: Manifest) -> Iterator[_Reference]:
    for pod in all_pods([manifest]):
        yield from _pod_references(pod)
    for cluster in clusters([manifest]):
        options = ("gcsFaultToleranceOptions", "redisPassword", "valueFrom", "secretKeyRef", "name")
        yield _Reference((*cluster.path, *options), "", "Secret", text(cluster.spec, *options))
        secret = ("authOptions", "secretName")
        yield _Reference((*cluster.path, *secret), "", "Secret", text(cluster.spec, *secret))
        path = (*cluster.path, "autoscalerOptions")
        yield from _env_references(path, mapping(cluster.spec, "autoscalerOptions"))
    if queue := text(manifest.labels, QUEUE_LABEL):
        yield _Reference(("metadata", "labels", QUEUE_LABEL), KUEUE, "LocalQueue", queue)
    yield from _queue_references(manifest)
    if manifest.kind == "RoleBinding":
        if text(manifest.body, "roleRef", "kind") == "Role":
            role = text(manifest.body, "roleRef", "name")
            yield _Reference(("roleRef", "name"), manifest.api_group, "Role", role)
        for index, subject in mappings(manifest.body, "subjects"):
            if text(subject, "kind") == "ServiceAccount" and text(subject, "namespace") in (
                "",
                manifest.namespace,
            ):
                yield _Reference(("subjects", index, "name"), "", "ServiceAccount", text(subject, "name"))


def _queue_references(manifest: Manifest) -> Iterator[_Reference]:
    if manifest.is_a(KUEUE, "LocalQueue"):
        path = ("spec", "clusterQueue")
        yield _Reference(path, KUEUE, "ClusterQueue", text(manifest.body, *path), everywhere=True)
    if manifest.is_a(KUEUE, "ClusterQueue"):
        for number, group in mappings(manifest.body, "spec", "resourceGroups"):
            for index, flavor in mappings(group, "flavors"):
                here = ("spec", "resourceGroups", number, "flavors", index, "name")
                yield _Reference(here, KUEUE, "ResourceFlavor", text(flavor, "name"), everywhere=True)


def _pod_references(pod: Pod) -> Iterator[_Reference]:
    path, spec = pod.spec_path, pod.spec
    account, priority = text(spec, "serviceAccountName"), text(spec, "priorityClassName")
    yield _Reference((*path, "serviceAccountName"), "", "ServiceAccount", account)
    yield _Reference((*path, "priorityClassName"), PRIORITY, "PriorityClass", priority, everywhere=True)
    for index, secret in mappings(spec, "imagePullSecrets"):
        yield _Reference((*path, "imagePullSecrets", index), "", "Secret", text(secret, "name"))
    for index, volume in mappings(spec, "volumes"):
        yield from _volume_references((*path, "volumes", index), volume)
    for container in pod.containers:
        yield from _env_references(container.path, container.body)


def _volume_references(path: Path, volume: Mapping[str, Any]) -> Iterator[_Reference]:
    for key, kind, field in (
        ("configMap", "ConfigMap", "name"),
        ("secret", "Secret", "secretName"),
        ("persistentVolumeClaim", "PersistentVolumeClaim", "claimName"),
    ):
        optional = part(volume, key, "optional") is True
        yield _Reference((*path, key, field), "", kind, text(volume, key, field), optional)
    for index, source in mappings(volume, "projected", "sources"):
        for key, kind in (("configMap", "ConfigMap"), ("secret", "Secret")):
            here = (*path, "projected", "sources", index, key, "name")
            yield _Reference(here, "", kind, text(source, key, "name"), part(source, key, "optional") is True)


def _env_references(path: Path, holder: Mapping[str, Any]) -> Iterator[_Reference]:
    for index, entry in mappings(holder, "env"):
        for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
            found = mapping(entry, "valueFrom", key)
            here = (*path, "env", index, "valueFrom", key, "name")
            yield _Reference(here, "", kind, text(found, "name"), found.get("optional") is True)
    for index, entry in mappings(holder, "envFrom"):
        for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
            found = mapping(entry, key)
            here = (*path, "envFrom", index, key, "name")
            yield _Reference(here, "", kind, text(found, "name"), found.get("optional") is True)


def _check_size(manifest: Manifest) -> Iterator[Finding]:
    if not manifest.is_a("", "ConfigMap"):
        return
    held = [*mapping(manifest.body, "data").items(), *mapping(manifest.body, "binaryData").items()]
    size = sum(len(str(key).encode()) + len(str(value).encode()) for key, value in held)
    if size > LARGEST_CONFIG_MAP:
        yield manifest.error(("data",), f"must be at most {LARGEST_CONFIG_MAP} bytes (1 MiB), got {size}")
