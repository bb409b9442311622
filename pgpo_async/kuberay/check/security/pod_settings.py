"""What a pod as a whole must not have of its node, and whom it runs as. Called by `checking`."""

from collections.abc import Iterator

from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.pods import Pod, all_pods
from pgpo_async.kuberay.check.values import mapping, mappings, part, text

HOST_NAMESPACES = ("hostNetwork", "hostPID", "hostIPC")
ALLOWED_VOLUMES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
"""What "restricted" lets in."""
NOT_THE_NODES = ALLOWED_VOLUMES | {"name", "image"}


def check_pod_settings(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check every pod template."""
    for pod in all_pods(manifests):
        for key in HOST_NAMESPACES:
            if part(pod.spec, key) is True:
                yield pod.manifest.error((*pod.spec_path, key), "must not be true: it is the node's own")
        yield from _check_volumes(pod)
        yield from _check_token(pod)
        yield from _check_identity(pod)


def _check_volumes(pod: Pod) -> Iterator[Finding]:
    for index, volume in mappings(pod.spec, "volumes"):
        for kind in volume:
            if kind not in NOT_THE_NODES and isinstance(volume[kind], dict):
                path = (*pod.spec_path, "volumes", index, str(kind))
                message = f"must be one of {', '.join(sorted(ALLOWED_VOLUMES))}, got {kind}"
                yield pod.manifest.error(path, message)


def _check_token(pod: Pod) -> Iterator[Finding]:
    if part(pod.spec, "automountServiceAccountToken") is not False:
        yield pod.manifest.error(
            (*pod.spec_path, "automountServiceAccountToken"),
            "must be false: no process needs the token, and one that does gets it by a projected volume",
        )


def _check_identity(pod: Pod) -> Iterator[Finding]:
    context = mapping(pod.spec, "securityContext")
    path = (*pod.spec_path, "securityContext")
    claims = any("persistentVolumeClaim" in volume for _, volume in mappings(pod.spec, "volumes"))
    if claims and "fsGroup" not in context:
        message = "is missing: the claim's files would be root's, and the pod could not write"
        yield pod.manifest.error((*path, "fsGroup"), message)
    for key in ("runAsUser", "runAsGroup"):
        if part(context, key) == 0:
            yield pod.manifest.error((*path, key), "must not be 0 (root)")
    for key in ("seccompProfile", "appArmorProfile"):
        if text(context, key, "type") == "Unconfined":
            yield pod.manifest.error((*path, key, "type"), "must not be Unconfined")
    for index, sysctl in mappings(context, "sysctls"):
        message = f"must not be there: {text(sysctl, 'name')} is the node's own"
        yield pod.manifest.error((*path, "sysctls", index), message)
