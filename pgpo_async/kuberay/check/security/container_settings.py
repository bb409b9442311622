"""Each container's security context, and those of the containers that the operator adds.

On workers KubeRay copies the Ray container's context to its init container; the autoscaler's comes from
`autoscalerOptions`, the submitter's from `submitterPodTemplate` alone, in SidecarMode from nowhere.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pgpo_async.config.issues import Path
from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.pods import all_pods
from pgpo_async.kuberay.check.ray import clusters, ray_jobs
from pgpo_async.kuberay.check.values import entries, mapping, mappings, part, text

CONFINED = ("RuntimeDefault", "Localhost")


def check_container_settings(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check every container that is written down, and those that are not."""
    for pod in all_pods(manifests):
        shared = mapping(pod.spec, "securityContext")
        for container in pod.containers:
            yield from _check_context(pod.manifest, container.path, container.body, shared)
            for index, port in mappings(container.body, "ports"):
                if port.get("hostPort"):
                    path = (*container.path, "ports", index, "hostPort")
                    yield pod.manifest.error(path, "must not be there: it opens a port of the node")
    yield from _check_autoscalers(manifests)
    yield from _check_submitters(manifests)


def _check_context(
    manifest: Manifest, path: Path, holder: Mapping[str, Any], shared: Mapping[str, Any]
) -> Iterator[Finding]:
    here, context = (*path, "securityContext"), mapping(holder, "securityContext")
    if not context:
        yield manifest.error(
            here,
            "is missing, must say allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}, "
            "readOnlyRootFilesystem: true, runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}",
        )
        return
    if context.get("privileged") is True:
        yield manifest.error((*here, "privileged"), "must not be true")
    for key, wanted in (("allowPrivilegeEscalation", False), ("readOnlyRootFilesystem", True)):
        if context.get(key) is not wanted:
            yield manifest.error(
                (*here, key), f"must be {str(wanted).lower()}, got {_shown(context.get(key))}"
            )
    if context.get("runAsNonRoot", shared.get("runAsNonRoot")) is not True:
        got = _shown(context.get("runAsNonRoot", shared.get("runAsNonRoot")))
        yield manifest.error((*here, "runAsNonRoot"), f"must be true, here or in the pod's, got {got}")
    for key in ("runAsUser", "runAsGroup"):
        if part(context, key) == 0 and part(context, key) is not False:
            yield manifest.error((*here, key), "must not be 0 (root)")
    profile = text(context, "seccompProfile", "type") or text(shared, "seccompProfile", "type")
    if profile not in CONFINED:
        message = f"must be RuntimeDefault, here or in the pod's, got {profile or 'nothing'}"
        yield manifest.error((*here, "seccompProfile"), message)
    yield from _check_capabilities(manifest, (*here, "capabilities"), mapping(context, "capabilities"))
    if text(context, "procMount") not in ("", "Default"):
        yield manifest.error((*here, "procMount"), "must be Default")


def _check_capabilities(manifest: Manifest, path: Path, context: Mapping[str, Any]) -> Iterator[Finding]:
    if "ALL" not in entries(context, "drop"):
        yield manifest.error((*path, "drop"), f"must hold ALL, got {entries(context, 'drop') or 'nothing'}")
    if added := entries(context, "add"):
        yield manifest.error((*path, "add"), f"must be empty, got {', '.join(map(str, added))}")


def _check_autoscalers(manifests: list[Manifest]) -> Iterator[Finding]:
    for cluster in clusters(manifests):
        if cluster.autoscaling:
            path = (*cluster.path, "autoscalerOptions")
            shared = mapping(cluster.head.body, "template", "spec", "securityContext")
            yield from _check_context(
                cluster.manifest, path, mapping(cluster.spec, "autoscalerOptions"), shared
            )


def _check_submitters(manifests: list[Manifest]) -> Iterator[Finding]:
    for job in ray_jobs(manifests):
        mode = text(job.body, "spec", "submissionMode") or "K8sJobMode"
        if mode == "K8sJobMode" and not mapping(job.body, "spec", "submitterPodTemplate"):
            message = "is missing: the operator's own submitter has no security context"
            yield job.error(("spec", "submitterPodTemplate"), message)
        if mode == "SidecarMode":
            message = (
                "must be K8sJobMode with a submitterPodTemplate: a side container has no security context"
            )
            yield job.error(("spec", "submissionMode"), message)


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value).lower()
