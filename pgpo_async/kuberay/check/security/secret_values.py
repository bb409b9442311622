"""No secret in plain sight: what a variable's name calls one comes by `secretKeyRef`."""

from collections.abc import Iterator

from pgpo_async.config.issues import Path
from pgpo_async.config.masking import is_secret_key, masked_text
from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.pods import all_pods
from pgpo_async.kuberay.check.ray import clusters
from pgpo_async.kuberay.check.values import mapping, mappings, part, text

NO_SECRETS = ("_MODE", "_PATH", "_FILE", "_DIR", "_URL", "_ENABLED", "_TYPE")
"""What says how or where, as RAY_AUTH_MODE does, is none itself."""
BY_REFERENCE = "must come by valueFrom.secretKeyRef, not be written here"


def check_secret_values(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check the variables of every container, the options that take a secret, and Secrets themselves."""
    for pod in all_pods(manifests):
        for container in pod.containers:
            yield from _check_env(pod.manifest, container.path, container.body)
    for cluster in clusters(manifests):
        options = mapping(cluster.spec, "autoscalerOptions")
        yield from _check_env(cluster.manifest, (*cluster.path, "autoscalerOptions"), options)
        if text(cluster.spec, "gcsFaultToleranceOptions", "redisPassword", "value"):
            path = (*cluster.path, "gcsFaultToleranceOptions", "redisPassword", "value")
            yield cluster.manifest.error(path, BY_REFERENCE)
    for manifest in manifests:
        if not manifest.is_a("", "Secret"):
            continue
        for key in ("data", "stringData"):
            if mapping(manifest.body, key):
                message = (
                    "holds secrets: keep them out of the folder, the manifests only need the Secret's name"
                )
                yield manifest.warning((key,), message)


def _check_env(manifest: Manifest, path: Path, holder: object) -> Iterator[Finding]:
    for index, entry in mappings(holder, "env"):
        name, value = text(entry, "name"), part(entry, "value")
        if not isinstance(value, str) or not value or value.startswith("$("):
            continue
        called_one = is_secret_key(name) and not name.upper().endswith(NO_SECRETS)
        if called_one or masked_text(value) != value:
            yield manifest.error((*path, "env", index, "value"), f"of {name}: {BY_REFERENCE}")
