"""What every object must have, whatever its kind: version, kind, a name of its own, labels that are labels.

Called by `checking`, first. Which fields a kind has is the schemas' to say; kinds that no schema knows are
named here, so that nobody takes them for checked.
"""

from collections.abc import Iterator

from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.names import label_key_problem, label_value_problem, object_name_problem
from pgpo_async.kuberay.check.pods import all_pods
from pgpo_async.kuberay.check.values import mapping, part, text

METADATA_FIELDS = frozenset(
    {"name", "namespace", "labels", "annotations", "finalizers", "ownerReferences"}
    | {"creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid"}
    | {"deletionGracePeriodSeconds", "deletionTimestamp", "generateName"}
)


def check_documents(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check what all objects have in common."""
    for manifest in manifests:
        if not manifest.body.keys() & {"apiVersion", "kind"}:
            yield manifest.error((), "must be a Kubernetes object, got neither apiVersion nor kind")
            continue
        yield from _check_heading(manifest)
        yield from _check_metadata(manifest)
    yield from _check_twice(manifests)
    for pod in all_pods(manifests):
        if pod.path:  # a Pod's own labels are its object's
            yield from _check_labels(pod.manifest, (*pod.path, "metadata"), mapping(pod.template, "metadata"))


def _check_heading(manifest: Manifest) -> Iterator[Finding]:
    for key, example in (("apiVersion", "ray.io/v1"), ("kind", "RayJob")):
        if not text(manifest.body, key):
            got = "nothing" if part(manifest.body, key) is None else repr(part(manifest.body, key))
            yield manifest.error((key,), f"must be text such as {example}, got {got}")


def _check_metadata(manifest: Manifest) -> Iterator[Finding]:
    from pgpo_async.config.fields import closest

    metadata = mapping(manifest.body, "metadata")
    if not manifest.name:
        if "generateName" not in metadata:
            yield manifest.error(("metadata", "name"), "is missing, must be the object's name")
    elif problem := object_name_problem(manifest.name, kind=manifest.kind):
        yield manifest.error(("metadata", "name"), problem)
    for key in metadata:
        if key not in METADATA_FIELDS:
            meant = closest(str(key), sorted(METADATA_FIELDS))
            hint = f", did you mean `{meant}`?" if meant else ""
            yield manifest.error(("metadata", str(key)), f"unknown field{hint}")
    yield from _check_labels(manifest, ("metadata",), metadata)


def _check_labels(manifest: Manifest, path: tuple[str | int, ...], metadata: object) -> Iterator[Finding]:
    for what in ("labels", "annotations"):
        for key, value in mapping(metadata, what).items():
            here = (*path, what, str(key))
            if not isinstance(value, str):
                yield manifest.error(here, f"must be text, got {value!r}; put it in quotes")
            elif problem := label_key_problem(str(key)) or (
                label_value_problem(value) if what == "labels" else None
            ):
                yield manifest.error(here, problem)


def _check_twice(manifests: list[Manifest]) -> Iterator[Finding]:
    first: dict[tuple[str, str, str, str], Manifest] = {}
    for manifest in manifests:
        if not manifest.name:
            continue
        key = (manifest.api_group, manifest.kind, manifest.namespace, manifest.name)
        if key in first:
            message = f"the object must be there once, is in {first[key].file} too"
            yield manifest.error(("metadata", "name"), message)
        first.setdefault(key, manifest)
