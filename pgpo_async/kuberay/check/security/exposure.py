"""Nothing can be reached from outside the cluster: whoever reaches Ray's ports runs code."""

from collections.abc import Iterator

from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.ray import clusters
from pgpo_async.kuberay.check.values import entries, mapping, part, text

INSIDE = ("ClusterIP", "ExternalName")


def check_exposure(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check what opens a way in: services, ingresses, and what the operator makes of them for the head."""
    for cluster in clusters(manifests):
        manifest, head = cluster.manifest, cluster.head
        for path in (("serviceType",), ("headService", "spec", "type")):
            found = text(head.body, *path)
            if found and found != "ClusterIP":
                yield manifest.error((*head.path, *path), f"must be ClusterIP, got {found}: it exposes Ray")
        if text(cluster.spec, "authOptions", "mode") != "token":
            message = "should be token: whoever reaches the head's ports runs code as this job"
            yield manifest.warning((*cluster.path, "authOptions", "mode"), message)
        if part(head.body, "enableIngress") is True:
            yield manifest.error((*head.path, "enableIngress"), "must not be true: it exposes Ray")
        if mapping(head.body, "ingressOptions"):
            yield manifest.error((*head.path, "ingressOptions"), "must not be there: it exposes Ray")
    for manifest in manifests:
        if manifest.is_a("", "Service"):
            found = text(manifest.body, "spec", "type")
            if found and found not in INSIDE:
                message = f"must be ClusterIP, got {found}: it opens a way into the cluster"
                yield manifest.error(("spec", "type"), message)
            if entries(manifest.body, "spec", "externalIPs"):
                message = "must not be there: it opens a way into the cluster"
                yield manifest.error(("spec", "externalIPs"), message)
        if manifest.is_a("networking.k8s.io", "Ingress"):
            yield manifest.error((), "must not be there: it opens a way into the cluster")
