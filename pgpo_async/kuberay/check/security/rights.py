"""Roles may no more than they must. Called by `checking`."""

from collections.abc import Iterator

from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.values import entries, mappings, text

RBAC = "rbac.authorization.k8s.io"
GREAT_ROLES = ("cluster-admin", "admin", "edit")
ESCALATING_VERBS = ("bind", "escalate", "impersonate")
POD_SHELLS = ("pods/exec", "pods/attach", "pods/portforward")


def check_rights(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check every role, and what is bound to."""
    for manifest in manifests:
        if manifest.is_a(RBAC, "Role", "ClusterRole"):
            for index, rule in mappings(manifest.body, "rules"):
                path = ("rules", index)
                for key in ("verbs", "resources", "apiGroups"):
                    if "*" in entries(rule, key):
                        yield manifest.error((*path, key), "must name them, got *")
                resources = entries(rule, "resources")
                if any(str(name).partition("/")[0] == "secrets" for name in resources):
                    yield manifest.error(
                        (*path, "resources"), "must not hold secrets: pods get theirs by reference"
                    )
                for name in POD_SHELLS:
                    if name in resources:
                        yield manifest.error((*path, "resources"), f"must not hold {name}")
                for verb in ESCALATING_VERBS:
                    if verb in entries(rule, "verbs"):
                        yield manifest.error((*path, "verbs"), f"must not hold {verb}")
        if manifest.is_a(RBAC, "RoleBinding", "ClusterRoleBinding"):
            name = text(manifest.body, "roleRef", "name")
            if name in GREAT_ROLES:
                yield manifest.error(("roleRef", "name"), f"must be a role of least rights, got {name}")
