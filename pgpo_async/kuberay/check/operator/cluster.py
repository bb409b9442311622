"""Rules of a cluster as a whole: its name, options behind feature gates, what the operator sets itself."""

from collections.abc import Iterator, Mapping

from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.names import dns_label_problem
from pgpo_async.kuberay.check.ray import Cluster, clusters
from pgpo_async.kuberay.check.values import entries, mappings, part, text

LONGEST_NAME = 53
GATES = {
    "networkPolicy": "RayClusterNetworkPolicy",
    "tlsOptions": "RayClusterMTLS",
    "historyServerOptions": "RayClusterHistoryServer",
}
MANAGED_ENV = frozenset(
    {"RAY_CLUSTER_NAME", "RAY_CLUSTER_NAMESPACE", "RAY_IP", "FQ_RAY_IP", "RAY_PORT", "RAY_ADDRESS"}
    | {"KUBERAY_GEN_RAY_START_CMD", "RAY_USAGE_STATS_KUBERAY_IN_USE", "RAY_NODE_TYPE_NAME"}
)
"""What the operator sets in every Ray container; a value of one's own sends Ray somewhere else."""
TLS_ENV = frozenset({"RAY_USE_TLS", "RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT"})


def check_clusters(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check every cluster."""
    for cluster in clusters(manifests):
        manifest = cluster.manifest
        if manifest.kind == "RayCluster" and manifest.name:
            problem = dns_label_problem(manifest.name, starts_with_letter=True, longest=LONGEST_NAME)
            if problem:
                yield manifest.error(("metadata", "name"), problem)
        for key, gate in GATES.items():
            if isinstance(part(cluster.spec, key), Mapping):
                yield manifest.warning((*cluster.path, key), f"needs the operator's feature gate {gate}")
        if manifest.kind == "RayJob" and part(cluster.spec, "upgradeStrategy", "type") is not None:
            message = "must not be there in a RayJob, whose cluster is the operator's"
            yield manifest.error((*cluster.path, "upgradeStrategy", "type"), message)
        yield from _check_managed_env(cluster)
        yield from _check_network_policy(cluster)


def _check_managed_env(cluster: Cluster) -> Iterator[Finding]:
    managed = MANAGED_ENV | (TLS_ENV if part(cluster.spec, "tlsOptions", "enabled") is True else frozenset())
    for group in cluster.groups:
        for index, entry in mappings(group.ray_container, "env"):
            name = text(entry, "name")
            if name in managed:
                path = (*group.ray_container_path, "env", index)
                yield cluster.manifest.error(path, f"must not be {name}, which the operator sets")


def _check_network_policy(cluster: Cluster) -> Iterator[Finding]:
    policy = part(cluster.spec, "networkPolicy")
    if not isinstance(policy, Mapping):
        return
    path = (*cluster.path, "networkPolicy")
    mode = text(policy, "mode") or "DenyAll"
    places = [((*path, key), part(policy, key)) for key in ("head", "worker")]
    places += [((*path, "workerGroups", index), entry) for index, entry in mappings(policy, "workerGroups")]
    for here, rules in places:
        for key, allowed_by in (("ingressRules", "DenyAllEgress"), ("egressRules", "DenyAllIngress")):
            if mode == allowed_by and entries(rules, key):
                yield cluster.manifest.error((*here, key), f"must not be there where mode is {mode}")
    known = {group.name for group in cluster.workers}
    for index, entry in mappings(policy, "workerGroups"):
        if text(entry, "groupName") not in known:
            message = f"must be a group of workerGroupSpecs, got {text(entry, 'groupName')!r}"
            yield cluster.manifest.error((*path, "workerGroups", index, "groupName"), message)
