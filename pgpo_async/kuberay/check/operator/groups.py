"""Rules of head and worker groups: containers, replicas, resources in one place, labels."""

from collections.abc import Iterator

from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.names import dns_label_problem, label_key_problem, label_value_problem
from pgpo_async.kuberay.check.ray import Cluster, Group, clusters
from pgpo_async.kuberay.check.values import entries, mapping, part, whole

RESOURCE_PARAMS = ("num-cpus", "num-gpus", "memory", "resources")


def check_groups(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check every group of every cluster."""
    for cluster in clusters(manifests):
        seen: set[str] = set()
        for group in cluster.groups:
            yield from _check_group(cluster.manifest, group)
            if group.is_head:
                continue
            yield from _check_name(cluster.manifest, group, seen)
            yield from _check_replicas(cluster, group)


def _check_group(manifest: Manifest, group: Group) -> Iterator[Finding]:
    if group.body and not entries(group.body, "template", "spec", "containers"):
        path = (*group.path, "template", "spec", "containers")
        yield manifest.error(path, "must have at least one container, the first is Ray's")
    params = group.ray_start_params
    if mapping(group.body, "resources"):
        for key in RESOURCE_PARAMS:
            if params.get(key):
                message = (
                    "must not be there beside the group's `resources`: the operator takes one place only"
                )
                yield manifest.error((*group.path, "rayStartParams", key), message)
    if "labels" in params:
        message = "must not be there: the group's own `labels` are what the operator hands to Ray"
        yield manifest.error((*group.path, "rayStartParams", "labels"), message)
    for key, value in mapping(group.body, "labels").items():
        problem = label_key_problem(str(key)) or (
            label_value_problem(value) if isinstance(value, str) else None
        )
        if problem:
            yield manifest.error((*group.path, "labels", str(key)), problem)


def _check_name(manifest: Manifest, group: Group, seen: set[str]) -> Iterator[Finding]:
    path = (*group.path, "groupName")
    if group.name in seen:
        yield manifest.error(path, f"must be a name of its own, got {group.name!r} twice")
    seen.add(group.name)
    if problem := dns_label_problem(group.name):
        yield manifest.error(path, problem)


def _check_replicas(cluster: Cluster, group: Group) -> Iterator[Finding]:
    manifest = cluster.manifest
    least, number, most = (whole(group.body, key) for key in ("minReplicas", "replicas", "maxReplicas"))
    for key, count in (("minReplicas", least), ("replicas", number), ("maxReplicas", most)):
        if count is not None and count < 0:
            yield manifest.error((*group.path, key), f"must be at least 0, got {count}")
        if count is None and key != "replicas" and not cluster.autoscaling and part(group.body, key) is None:
            yield manifest.error(
                (*group.path, key), "is missing, must be there where nothing scales the group"
            )
    if least is not None and most is not None and least > most:
        message = f"must be at most maxReplicas ({most}), got {least}"
        yield manifest.error((*group.path, "minReplicas"), message)
        return
    if number is None:
        return
    if least is not None and number < least:
        yield manifest.error(
            (*group.path, "replicas"), f"must be at least minReplicas ({least}), got {number}"
        )
    if most is not None and number > most:
        yield manifest.error((*group.path, "replicas"), f"must be at most maxReplicas ({most}), got {number}")
