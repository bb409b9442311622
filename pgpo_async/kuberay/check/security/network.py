"""A namespace with Ray pods denies by default, both ways, and no policy takes that back."""

from collections.abc import Iterator

from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.ray import clusters
from pgpo_async.kuberay.check.values import entries, mapping, mappings, part

DIRECTIONS = {"Ingress": ("ingress", "from"), "Egress": ("egress", "to")}


def check_network(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check the policies of every namespace that has a Ray cluster."""
    policies = [manifest for manifest in manifests if is_policy(manifest)]
    told: set[str] = set()
    for cluster in clusters(manifests):
        namespace = cluster.manifest.namespace
        if namespace in told:
            continue
        told.add(namespace)
        here = [policy for policy in policies if policy.namespace == namespace]
        for direction in DIRECTIONS:
            if not any(_denies_all(policy, direction) for policy in here):
                yield cluster.manifest.error(
                    (),
                    f"its namespace must have a NetworkPolicy of all pods (podSelector: {{}}) with the type "
                    f"{direction} and no {direction.lower()} rules: what is not allowed must be denied",
                )
        for policy in here:
            yield from _check_rules(policy)


def is_policy(manifest: Manifest) -> bool:
    """Whether it is a NetworkPolicy."""
    return manifest.is_a("networking.k8s.io", "NetworkPolicy")


def policy_types(policy: Manifest) -> list[str]:
    """Return the directions that a policy is of; where it does not say, Kubernetes tells by its rules."""
    types = entries(policy.body, "spec", "policyTypes")
    if types:
        return [str(name) for name in types]
    return ["Ingress", "Egress"] if entries(policy.body, "spec", "egress") else ["Ingress"]


def _denies_all(policy: Manifest, direction: str) -> bool:
    selector = mapping(policy.body, "spec", "podSelector")
    selects_all = not mapping(selector, "matchLabels") and not entries(selector, "matchExpressions")
    rules, _ = DIRECTIONS[direction]
    return selects_all and direction in policy_types(policy) and not entries(policy.body, "spec", rules)


def _check_rules(policy: Manifest) -> Iterator[Finding]:
    for index, name in enumerate(entries(policy.body, "spec", "policyTypes")):
        if str(name) not in DIRECTIONS:
            path = ("spec", "policyTypes", index)
            yield policy.error(path, f"must be Ingress or Egress, got {name!r}")
    for direction, (key, peers) in DIRECTIONS.items():
        for index, rule in mappings(policy.body, "spec", key):
            path = ("spec", key, index)
            if not entries(rule, peers) and not entries(rule, "ports"):
                yield policy.error(path, "must name peers or ports: an empty rule allows everything")
            elif direction == "Ingress" and not entries(rule, peers):
                message = "must name who may come in: without it the ports are open to everyone"
                yield policy.error((*path, peers), message)
        if part(policy.body, "spec", key) and direction not in policy_types(policy):
            message = f"has no effect: policyTypes must hold {direction}"
            yield policy.error(("spec", key), message)
