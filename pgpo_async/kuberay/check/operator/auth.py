"""Rules of token authentication. Called by `checking`."""

from collections.abc import Iterator

from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.operator.versions import older_than
from pgpo_async.kuberay.check.ray import clusters
from pgpo_async.kuberay.check.values import part, text

TOKENS_SINCE = "2.52.0"
KUBERNETES_TOKENS_SINCE = "2.55.0"


def check_auth(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check every cluster."""
    for cluster in clusters(manifests):
        manifest, options = cluster.manifest, part(cluster.spec, "authOptions")
        path = (*cluster.path, "authOptions")
        version, version_path = text(cluster.spec, "rayVersion"), (*cluster.path, "rayVersion")
        tokens = text(options, "mode") == "token"
        kubernetes = part(options, "enableK8sTokenAuth") is True
        if tokens and older_than(version, TOKENS_SINCE):
            yield manifest.error(
                version_path, f"must be {TOKENS_SINCE} or later with token authentication, got {version!r}"
            )
        elif tokens and kubernetes and older_than(version, KUBERNETES_TOKENS_SINCE):
            yield manifest.error(
                version_path,
                f"must be {KUBERNETES_TOKENS_SINCE} or later with enableK8sTokenAuth, got {version!r}",
            )
        if not kubernetes:
            continue
        if manifest.kind == "RayJob":
            yield manifest.error((*path, "enableK8sTokenAuth"), "must not be true in a RayJob")
        elif not tokens:
            yield manifest.error((*path, "enableK8sTokenAuth"), "needs mode: token")
        elif text(options, "secretName"):
            yield manifest.error((*path, "secretName"), "must not be there beside enableK8sTokenAuth")
