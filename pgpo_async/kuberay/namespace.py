"""What a namespace holds for all its runs: itself, the account that pods run as, the volume of runs."""

from pgpo_async.kuberay.labels import PART_OF, Manifest
from pgpo_async.kuberay.pods import SERVICE_ACCOUNT
from pgpo_async.kuberay.settings import Settings


def namespace_objects(settings: Settings) -> list[Manifest]:
    """Return namespace and service account."""
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": settings.namespace, "labels": {**PART_OF, **levels}},
        },
        {
            # No role is bound to it: pods need nothing of the API server. Where Ray's autoscaler runs, the
            # operator binds its own narrow role to it.
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": _metadata(SERVICE_ACCOUNT, settings),
            "automountServiceAccountToken": False,
        },
    ]


def storage_objects(settings: Settings) -> list[Manifest]:
    """Return the claim of /runs, unless it is there already."""
    storage = settings.storage
    if not storage.create:
        return []
    spec: Manifest = {
        "accessModes": [storage.access_mode],
        "resources": {"requests": {"storage": storage.size}},
    }
    if storage.storage_class is not None:
        spec["storageClassName"] = storage.storage_class
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": _metadata(storage.claim, settings),
            "spec": spec,
        }
    ]


def _metadata(name: str, settings: Settings) -> Manifest:
    return {"name": name, "namespace": settings.namespace, "labels": dict(PART_OF)}
