"""Pod templates: the container that Ray runs in, its volumes, probes and rights, alike for head and workers.

What the operator adds (its init container, the autoscaler, the submitter's command) takes its rights and
mounts from here. Source: KubeRay 1.7.0, `ray-operator/controllers/ray/common/pod.go`.
"""

from collections.abc import Mapping
from typing import Any

from pgpo_async.kuberay.labels import (
    AGENT_PORT,
    HEAD,
    HOME_FOLDER,
    MOUNTS,
    TEMPORARY_FOLDER,
    Manifest,
    labels,
)
from pgpo_async.kuberay.quantities import as_cpus, as_memory
from pgpo_async.kuberay.settings import Settings

SERVICE_ACCOUNT = "pgpo-async"
USER = 1000
"""The image's; any other works as well."""
CONTAINER_RIGHTS: Manifest = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
POD_RIGHTS: Manifest = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    # A claim with many checkpoints is not walked through at each start.
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
HEALTH = {"httpGet": {"path": "/api/healthz", "port": AGENT_PORT}}
PROBES: Manifest = {
    # A first start pulls and imports much; from then on a node that does not answer for two minutes is gone.
    "startupProbe": {**HEALTH, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 120},
    "readinessProbe": {**HEALTH, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 6},
    "livenessProbe": {**HEALTH, "periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 12},
}
GRACE_S = 60
"""Of a pod that is deleted. A run's own polite stop comes before: `job.stop_grace_s`."""
STAYS: Mapping[str, str] = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
"""Of head and learner: no autoscaler of machines moves them to save one."""
LEAVING: Manifest = {"lifecycle": {"preStop": {"exec": {"command": ["/bin/bash", "-c", "ray stop"]}}}}
"""Of workers: Ray hears at once that a node goes, and does not wait until it has been silent for long."""


def ray_container(
    name: str,
    settings: Settings,
    *,
    requests: Mapping[str, str],
    limits: Mapping[str, str],
    ports: Mapping[str, int],
    environment: Mapping[str, str],
) -> Manifest:
    """Return the container of a Ray node."""
    return {
        "name": name,
        "image": settings.image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": port, "containerPort": number} for port, number in ports.items()],
        "env": _environment(settings, environment),
        "resources": {"requests": dict(requests), "limits": dict(limits)},
        "securityContext": CONTAINER_RIGHTS,
        "volumeMounts": _mounts(settings),
        **PROBES,
    }


def pod_template(
    run: str, component: str, settings: Settings, container: Manifest, *, shared_bytes: int, **spec: Any
) -> Manifest:
    """Return a Ray node's pod template."""
    stays = component in (HEAD, "learner")
    if settings.image_pull_secret is not None:
        spec = {"imagePullSecrets": [{"name": settings.image_pull_secret}], **spec}
    return {
        "metadata": {"labels": labels(run, component), **({"annotations": dict(STAYS)} if stays else {})},
        "spec": {
            "serviceAccountName": SERVICE_ACCOUNT,
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": POD_RIGHTS,
            "terminationGracePeriodSeconds": GRACE_S,
            **spec,
            "containers": [container],
            "volumes": _volumes(run, settings, shared_bytes),
        },
    }


def submitter_template(run: str, settings: Settings) -> Manifest:
    """Return the pod that submits the job and follows its log; the operator gives it its command."""
    spec: Manifest = {
        "serviceAccountName": SERVICE_ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "securityContext": POD_RIGHTS,
        "containers": [
            {
                "name": "submitter",
                "image": settings.image,
                "imagePullPolicy": "IfNotPresent",
                "env": _environment(settings, {}, secrets=False),
                "resources": {
                    "requests": {"cpu": "200m", "memory": "512Mi"},
                    "limits": {"memory": "1Gi"},
                },
                "securityContext": CONTAINER_RIGHTS,
                "volumeMounts": [_mount("temporary"), _mount("home")],
            }
        ],
        "volumes": [_scratch("temporary", "1Gi"), _scratch("home", "1Gi")],
    }
    if settings.image_pull_secret is not None:
        spec["imagePullSecrets"] = [{"name": settings.image_pull_secret}]
    return {"metadata": {"labels": labels(run, "submitter")}, "spec": spec}


def resources(
    cpus: float, memory_bytes: int, gpus: int, settings: Settings
) -> tuple[dict[str, str], dict[str, str]]:
    """Return requests and limits. CPUs have no limit: idle ones serve whoever needs them."""
    memory = as_memory(memory_bytes)
    devices = {settings.scheduling.gpu_resource: str(gpus)} if gpus else {}
    return {"cpu": as_cpus(cpus), "memory": memory, **devices}, {"memory": memory, **devices}


def from_secret(reference: str) -> Manifest:
    """Return what takes its value from a Secret, NAME/KEY."""
    name, key = reference.split("/")
    return {"valueFrom": {"secretKeyRef": {"name": name, "key": key}}}


def config_map_name(run: str) -> str:
    """The ConfigMap of a run's config."""
    return f"{run}-config"


def _environment(
    settings: Settings, environment: Mapping[str, str], *, secrets: bool = True
) -> list[Manifest]:
    plain = {
        # A uid that the image does not know has no name and no home.
        "HOME": HOME_FOLDER,
        "USER": "pgpo",
        "LOGNAME": "pgpo",
        "TMPDIR": TEMPORARY_FOLDER,
        **environment,
        **settings.environment,
    }
    env: list[Manifest] = [{"name": name, "value": value} for name, value in plain.items()]
    for name, reference in settings.secrets.items() if secrets else ():
        env.append({"name": name, **from_secret(reference)})
    return env


def _mounts(settings: Settings) -> list[Manifest]:
    names = [name for name in MOUNTS if name != "data" or settings.storage.data_claim is not None]
    return [_mount(name, read_only=name in ("config", "data")) for name in names]


def _mount(name: str, *, read_only: bool = False) -> Manifest:
    return {"name": name, "mountPath": MOUNTS[name], **({"readOnly": True} if read_only else {})}


def _volumes(run: str, settings: Settings, shared_bytes: int) -> list[Manifest]:
    storage = settings.storage
    volumes: list[Manifest] = [
        {"name": "config", "configMap": {"name": config_map_name(run)}},
        {"name": "runs", "persistentVolumeClaim": {"claimName": storage.claim}},
        {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": as_memory(shared_bytes)}},
        _scratch("temporary", storage.scratch),
        _scratch("home", storage.scratch),
    ]
    if storage.data_claim is not None:
        claim = {"claimName": storage.data_claim, "readOnly": True}
        volumes.insert(2, {"name": "data", "persistentVolumeClaim": claim})
    return volumes


def _scratch(name: str, size: str) -> Manifest:
    return {"name": name, "emptyDir": {"sizeLimit": size}}
