"""All checks in their order, and of several findings of one field the one that says it best.

Called by `command`; the only place that knows all checks.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pgpo_async.kuberay.check.documents import check_documents
from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.operator import OPERATOR_CHECKS
from pgpo_async.kuberay.check.references import REFERENCE_CHECKS
from pgpo_async.kuberay.check.run import check_runs
from pgpo_async.kuberay.check.schemas.core_kinds import check_core_kinds
from pgpo_async.kuberay.check.schemas.ray_kinds import check_ray_kinds
from pgpo_async.kuberay.check.schemas.written_kinds import check_written_kinds
from pgpo_async.kuberay.check.security import SECURITY_CHECKS

Check = Callable[[list[Manifest]], Iterator[Finding]]


def check_manifests(manifests: list[Manifest], crds: Path | None) -> list[Finding]:
    """Return what all checks find, errors and warnings, each field told of once by each level.

    `crds` is the folder of KubeRay's resource definitions; None where there is none.
    """
    rules = [
        finding
        for check in (check_documents, *OPERATOR_CHECKS, *SECURITY_CHECKS, *REFERENCE_CHECKS, check_runs)
        for finding in check(manifests)
    ]
    # A rule knows why; a schema that refuses the same field only knows that.
    told = {_place(finding) for finding in rules if finding.level == "error"}
    schemas = [
        finding
        for found in (
            check_ray_kinds(manifests, crds),
            check_core_kinds(manifests),
            check_written_kinds(manifests),
        )
        for finding in found
        if _place(finding) not in told
    ]
    return _in_order(manifests, [*schemas, *rules])


def _in_order(manifests: list[Manifest], findings: Iterable[Finding]) -> list[Finding]:
    """As the objects were read; what is of no object comes first."""
    order: dict[tuple[str, str], int] = {}
    for number, manifest in enumerate(manifests):
        order.setdefault((manifest.file, manifest.title), number)
    unique = dict.fromkeys(findings)
    return sorted(unique, key=lambda finding: order.get((finding.file, finding.object), -1))


def _place(finding: Finding) -> tuple[str, str, str]:
    return finding.file, finding.object, finding.field
