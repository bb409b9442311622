"""Ray's autoscaler beside the head: it adds and takes generator and scorer pods as `pgpo-async scale` asks.

Its container is the operator's, so its rights and mounts are given here; it alone gets a token of the API
server, the head's own container does not. The learner's group stays as it is.
"""

from pgpo_async.kuberay.labels import HOME_FOLDER, TEMPORARY_FOLDER, Manifest
from pgpo_async.kuberay.network import api_server_policy
from pgpo_async.kuberay.planned_run import PlannedRun
from pgpo_async.kuberay.pods import CONTAINER_RIGHTS

IDLE_S = 300
"""A pod that has no actor for so long goes."""
TOKEN_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
TOKEN_LIFE_S = 3600
TOKEN_VOLUME = "api-server-token"


def autoscaled(objects: list[Manifest], run: PlannedRun) -> None:
    """Turn it on, in place."""
    cluster = run.job_of(objects)["spec"]["rayClusterSpec"]
    cluster["enableInTreeAutoscaling"] = True
    cluster["autoscalerOptions"] = _container(run)
    head = cluster["headGroupSpec"]["template"]["spec"]
    head["restartPolicy"] = "Never"
    head["volumes"].append({"name": TOKEN_VOLUME, "projected": _token()})
    for group, shape in zip(cluster["workerGroupSpecs"], run.shapes, strict=True):
        group["template"]["spec"]["restartPolicy"] = "Never"
        group |= {"minReplicas": shape.min_pods, "maxReplicas": shape.max_pods}
    objects.append(api_server_policy(run.settings))


def _container(run: PlannedRun) -> Manifest:
    return {
        "version": "v2",
        "idleTimeoutSeconds": IDLE_S,
        "image": run.settings.image,
        "imagePullPolicy": "IfNotPresent",
        "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
        "securityContext": dict(CONTAINER_RIGHTS),
        "env": [{"name": "HOME", "value": HOME_FOLDER}, {"name": "USER", "value": "pgpo"}],
        "volumeMounts": [
            # Ray's folder is shared with the head's container, which shows the autoscaler's log.
            {"name": "temporary", "mountPath": TEMPORARY_FOLDER},
            {"name": "home", "mountPath": HOME_FOLDER},
            {"name": TOKEN_VOLUME, "mountPath": TOKEN_FOLDER, "readOnly": True},
        ],
    }


def _token() -> Manifest:
    """What Kubernetes mounts into every container where it is not told otherwise, for one container."""
    return {
        "sources": [
            {"serviceAccountToken": {"path": "token", "expirationSeconds": TOKEN_LIFE_S}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {
                "downwardAPI": {
                    "items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]
                }
            },
        ]
    }
