"""Rules of Ray's autoscaler in a cluster. Called by `checking`."""

from collections.abc import Iterator

from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.operator.versions import older_than
from pgpo_async.kuberay.check.ray import Cluster, Group, clusters
from pgpo_async.kuberay.check.values import mappings, part, text, whole

V2_ENV = "RAY_enable_autoscaler_v2"
START_ENV = "KUBERAY_GEN_AUTOSCALER_START_CMD"
PRIORITY_SINCE = "2.56.0"


def check_autoscaling(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check every cluster."""
    for cluster in clusters(manifests):
        yield from _check_version(cluster)
        yield from _check_options(cluster)
        for group in cluster.workers:
            yield from _check_group(cluster, group)


def _check_version(cluster: Cluster) -> Iterator[Finding]:
    manifest = cluster.manifest
    for index, entry in mappings(cluster.head.ray_container, "env"):
        if text(entry, "name") != V2_ENV:
            continue
        path = (*cluster.head.ray_container_path, "env", index)
        if cluster.autoscaling and part(cluster.spec, "autoscalerOptions", "version") is not None:
            yield manifest.error(path, f"must not be {V2_ENV} beside autoscalerOptions.version")
        elif not cluster.autoscaling and text(entry, "value") in ("1", "true"):
            yield manifest.error(path, f"must not be {V2_ENV} without enableInTreeAutoscaling: true")
    if not cluster.autoscaler_v2:
        return
    for group in cluster.groups:
        policy = part(group.body, "template", "spec", "restartPolicy")
        if policy not in (None, "", "Never"):
            path = (*group.path, "template", "spec", "restartPolicy")
            yield manifest.error(path, f"must be Never or left out with autoscaler v2, got {policy!r}")


def _check_options(cluster: Cluster) -> Iterator[Finding]:
    path = (*cluster.path, "autoscalerOptions")
    for index, entry in mappings(cluster.spec, "autoscalerOptions", "env"):
        if text(entry, "name") == START_ENV:
            message = f"must not be {START_ENV}, which the operator sets"
            yield cluster.manifest.error((*path, "env", index), message)
    idle = whole(cluster.spec, "autoscalerOptions", "idleTimeoutSeconds")
    if idle is not None and idle < 0:
        yield cluster.manifest.error((*path, "idleTimeoutSeconds"), f"must be at least 0, got {idle}")


def _check_group(cluster: Cluster, group: Group) -> Iterator[Finding]:
    manifest = cluster.manifest
    if part(group.body, "suspend") is True:
        path = (*group.path, "suspend")
        if cluster.autoscaling:
            yield manifest.error(path, "must not be true with enableInTreeAutoscaling")
        else:
            yield manifest.warning(path, "needs the operator's feature gate RayJobDeletionPolicy")
    has_v2 = cluster.autoscaler_v2 or text(cluster.head.env.get(V2_ENV), "value") in ("1", "true")
    idle, priority = whole(group.body, "idleTimeoutSeconds"), whole(group.body, "priority") or 0
    if idle is not None and idle < 0:
        yield manifest.error((*group.path, "idleTimeoutSeconds"), f"must be at least 0, got {idle}")
    elif idle is not None and not has_v2:
        message = "needs autoscaler v2: autoscalerOptions.version: v2"
        yield manifest.error((*group.path, "idleTimeoutSeconds"), message)
    if priority and not has_v2:
        message = "needs autoscaler v2: autoscalerOptions.version: v2"
        yield manifest.error((*group.path, "priority"), message)
    elif priority and older_than(text(cluster.spec, "rayVersion"), PRIORITY_SINCE):
        message = f"needs rayVersion {PRIORITY_SINCE} or later, got {text(cluster.spec, 'rayVersion')!r}"
        yield manifest.error((*group.path, "priority"), message)
