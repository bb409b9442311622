"""Rules of GCS fault tolerance: where Ray's control store lies, said in one place only."""

from collections.abc import Iterator, Mapping
from typing import Any

from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.ray import Cluster, clusters
from pgpo_async.kuberay.check.values import mapping, mappings, part, text

FT_ANNOTATION = "ray.io/ft-enabled"
NAMESPACE_ANNOTATION = "ray.io/external-storage-namespace"
REDIS_ENV = {
    "RAY_REDIS_ADDRESS": "redisAddress",
    "REDIS_PASSWORD": "redisPassword",
    "REDIS_USERNAME": "redisUsername",
}
REDIS_PARAMS = {"redis-password": "redisPassword", "redis-username": "redisUsername"}
REDIS_OPTIONS = ("redisAddress", "redisUsername", "redisPassword", "externalStorageNamespace")
ROCKSDB_ENV = ("RAY_GCS_STORAGE", "RAY_GCS_STORAGE_PATH")
CLAIM_REPLACES = ("size", "storageClassName", "accessModes")


def check_fault_tolerance(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check every cluster."""
    for cluster in clusters(manifests):
        options = part(cluster.spec, "gcsFaultToleranceOptions")
        yield from _check_by_hand(cluster)
        if isinstance(options, Mapping):
            yield from _check_annotations(cluster)
            yield from _check_backend(cluster, options)


def _check_by_hand(cluster: Cluster) -> Iterator[Finding]:
    """What the options set must not be set by hand, whether they are there or not."""
    head = cluster.head
    for index, entry in mappings(head.ray_container, "env"):
        if field := REDIS_ENV.get(text(entry, "name")):
            message = f"must not be {text(entry, 'name')}: set gcsFaultToleranceOptions.{field}"
            yield cluster.manifest.error((*head.ray_container_path, "env", index), message)
    for key, field in REDIS_PARAMS.items():
        if head.ray_start_params.get(key):
            message = f"must not be there: set gcsFaultToleranceOptions.{field}"
            yield cluster.manifest.error((*head.path, "rayStartParams", key), message)


def _check_annotations(cluster: Cluster) -> Iterator[Finding]:
    for name in (FT_ANNOTATION, NAMESPACE_ANNOTATION):
        if cluster.annotations.get(name):
            message = "must not be there beside gcsFaultToleranceOptions"
            yield cluster.manifest.error(("metadata", "annotations", name), message)


def _check_backend(cluster: Cluster, options: Mapping[str, Any]) -> Iterator[Finding]:
    path, manifest = (*cluster.path, "gcsFaultToleranceOptions"), cluster.manifest
    if text(options, "backend") != "rocksdb":
        if "storage" in options:
            yield manifest.error((*path, "storage"), "must not be there with the backend redis")
        if not text(options, "redisAddress"):
            yield manifest.error((*path, "redisAddress"), "is missing, must be HOST:PORT of a Redis")
        return
    yield manifest.warning(
        (*path, "backend"), "needs the operator's feature gate GCSFaultToleranceEmbeddedStorage"
    )
    for key in REDIS_OPTIONS:
        if key in options:
            yield manifest.error((*path, key), "must not be there with the backend rocksdb")
    storage = mapping(options, "storage")
    if text(storage, "claimName"):
        for key in CLAIM_REPLACES:
            if key in storage:
                yield manifest.error((*path, "storage", key), "must not be there beside claimName")
    for index, entry in mappings(cluster.head.ray_container, "env"):
        if text(entry, "name") in ROCKSDB_ENV:
            here = (*cluster.head.ray_container_path, "env", index)
            yield manifest.error(here, f"must not be {text(entry, 'name')}, which the operator sets")
