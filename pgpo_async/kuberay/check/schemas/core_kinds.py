"""Kubernetes' own kinds against the schemas in `kubernetes-validate`, unknown fields refused.

Called by `checking`. The schemas are those of Kubernetes KUBERNETES: a field that came later is refused, so
that what passes here is accepted by every cluster that is not older. Kinds of no schema are told here too.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.ray import RAY_API
from pgpo_async.kuberay.check.schemas.ray_kinds import FILES
from pgpo_async.kuberay.check.schemas.written_kinds import schema_of

KUBERNETES = "1.31.0"
CORE_GROUPS = frozenset(
    {"", "apps", "autoscaling", "batch", "policy", "admissionregistration.k8s.io", "apiextensions.k8s.io"}
    | {"apiregistration.k8s.io", "certificates.k8s.io", "coordination.k8s.io", "discovery.k8s.io"}
    | {"networking.k8s.io", "node.k8s.io", "rbac.authorization.k8s.io", "resource.k8s.io"}
    | {"scheduling.k8s.io", "storage.k8s.io"}
)
FOLDER = f"kubernetes-json-schema/v{KUBERNETES}-local-strict"


def check_core_kinds(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check every object of Kubernetes' own kinds; one warning where the library is not installed."""
    from pgpo_async.kuberay.check.schemas.told import findings_of

    warned = False
    for manifest in manifests:
        if not manifest.kind or not manifest.api_version:
            continue
        if manifest.is_a(RAY_API, *FILES) or schema_of(manifest) is not None:
            continue
        if manifest.api_group not in CORE_GROUPS:
            yield manifest.warning(
                ("kind",), f"was not checked: no schema for {manifest.api_version} {manifest.kind} here"
            )
            continue
        try:
            validator = _validator(manifest.api_version, manifest.kind)
        except ImportError:
            if not warned:
                message = "fields of Kubernetes' own kinds were not checked: install `pgpo-async[k8s]`"
                yield manifest.warning((), message)
            warned = True
            continue
        if validator is None:
            yield manifest.error(
                ("kind",),
                f"must be of Kubernetes {KUBERNETES}, got {manifest.api_version} {manifest.kind}",
            )
        else:
            yield from findings_of(manifest, validator.iter_errors(dict(manifest.body)))


@lru_cache
def _validator(api_version: str, kind: str) -> Any:
    from jsonschema import Draft202012Validator
    from kubernetes_validate import utils

    group, slash, version = api_version.rpartition("/")
    name = f"{kind.lower()}-{group.partition('.')[0]}{'-' if slash else ''}{version}.json"
    try:
        schema = utils.schema_contents(f"{FOLDER}/{name}", KUBERNETES)
    except FileNotFoundError:
        return None
    return Draft202012Validator(schema, registry=_registry())


@lru_cache
def _registry() -> Any:
    from kubernetes_validate import utils
    from referencing import Registry, Resource

    definitions = Resource.from_contents(utils.schema_contents(f"{FOLDER}/_definitions.json", KUBERNETES))
    return definitions @ Registry()
