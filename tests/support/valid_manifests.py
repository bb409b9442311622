"""A set of manifests in which nothing is wrong, for the tests of `k8s check`.

`valid_manifests` is the only place that says what is valid; `Planted` finds objects in it by their kind.
"""

import copy
import json
from pathlib import Path
from typing import Any

import yaml

from pgpo_async.kuberay.check.checking import check_manifests
from pgpo_async.kuberay.check.manifest import Finding, Manifest

Body = dict[str, Any]

NAMESPACE = "pgpo"
IMAGE = "registry.example/pgpo-async:0.1.0-cpu"
LABELS = {"app.kubernetes.io/name": "pgpo-async"}
CONFIG = {
    "name": "demo",
    "output_dir": "/runs",
    "ray": {"address": "auto"},
    "generator": {"replicas": 2, "cpus": 2, "labels": {"pgpo-async/role": "generator"}},
    "scorer": {"replicas": 1, "cpus": 1, "labels": {"pgpo-async/role": "scorer"}},
    "learner": {"replicas": 2, "cpus": 1, "labels": {"pgpo-async/role": "learner"}},
    "reward": {"replicas": 1, "cpus": 0.5},
    "metrics": {"port": 9464, "host": "0.0.0.0"},
}


def _container(name: str, memory: str, **more: Any) -> Body:
    return {
        "name": name,
        "image": IMAGE,
        "resources": {"requests": {"cpu": "1", "memory": memory}, "limits": {"memory": memory}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "env": [{"name": "HOME", "value": "/home/pgpo"}, {"name": "RAY_AUTH_MODE", "value": "token"}],
        **more,
    }


def _template(container: Body, volumes: list[Body], **spec: Any) -> Body:
    return {
        "metadata": {"labels": dict(LABELS)},
        "spec": {
            "serviceAccountName": "pgpo",
            "automountServiceAccountToken": False,
            "securityContext": {"fsGroup": 1000, "runAsNonRoot": True},
            "containers": [container],
            "volumes": volumes,
            **spec,
        },
    }


def _ray_template(name: str, ports: list[Body]) -> Body:
    mounts = {
        "config": "/etc/pgpo-async",
        "runs": "/runs",
        "tmp": "/tmp",
        "shm": "/dev/shm",
        "home": "/home/pgpo",
    }
    container = _container(
        name,
        "2Gi",
        ports=ports,
        volumeMounts=[{"name": volume, "mountPath": path} for volume, path in mounts.items()],
    )
    secret = {"secretKeyRef": {"name": "pgpo-secrets", "key": "hf-token", "optional": True}}
    container["env"].append({"name": "HF_TOKEN", "valueFrom": secret})
    volumes: list[Body] = [
        {"name": "config", "configMap": {"name": "pgpo-config"}},
        {"name": "runs", "persistentVolumeClaim": {"claimName": "pgpo-runs"}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        {"name": "home", "emptyDir": {}},
    ]
    return _template(container, volumes, priorityClassName="pgpo-training")


def _group(role: str, replicas: int, cpus: str) -> Body:
    return {
        "groupName": role,
        "replicas": replicas,
        "minReplicas": replicas,
        "maxReplicas": replicas,
        "labels": {"pgpo-async/role": role},
        "resources": {"CPU": cpus},
        "rayStartParams": {},
        "template": _ray_template("ray-worker", [{"name": "metrics", "containerPort": 8080}]),
    }


def _object(version: str, kind: str, name: str, body: Body, *, namespaced: bool = True) -> Body:
    metadata = {"name": name, "labels": dict(LABELS)} | ({"namespace": NAMESPACE} if namespaced else {})
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **body}


def _ray_job() -> Body:
    ports = [{"name": "metrics", "containerPort": 8080}, {"name": "pgpo-metrics", "containerPort": 9464}]
    submitter = _template(_container("submitter", "256Mi"), [], restartPolicy="Never")
    return _object(
        "ray.io/v1",
        "RayJob",
        "pgpo-demo",
        {
            "spec": {
                "entrypoint": "pgpo-async launch /etc/pgpo-async/config.yaml --resume auto",
                "submissionMode": "K8sJobMode",
                "submitterPodTemplate": submitter,
                "shutdownAfterJobFinishes": True,
                "ttlSecondsAfterFinished": 600,
                "backoffLimit": 2,
                "activeDeadlineSeconds": 86400,
                "rayClusterSpec": {
                    "rayVersion": "2.60.0",
                    "authOptions": {"mode": "token"},
                    "headGroupSpec": {
                        "serviceType": "ClusterIP",
                        "resources": {"CPU": "0"},
                        "rayStartParams": {"dashboard-host": "0.0.0.0"},
                        "template": _ray_template("ray-head", ports),
                    },
                    "workerGroupSpecs": [
                        _group("generator", 2, "2"),
                        _group("scorer", 1, "2"),
                        _group("learner", 2, "1"),
                    ],
                },
            }
        },
    )


def _policies() -> list[Body]:
    ray = {"podSelector": {"matchLabels": {"ray.io/is-ray-node": "yes"}}}
    dns = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}
    within: Body = {
        "podSelector": {"matchLabels": {"ray.io/is-ray-node": "yes"}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [ray]}],
        "egress": [{"to": [ray]}, {"to": [dns], "ports": [{"protocol": "UDP", "port": 53}]}],
    }
    version = "networking.k8s.io/v1"
    denied: Body = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    return [
        _object(version, "NetworkPolicy", "default-deny", {"spec": denied}),
        _object(version, "NetworkPolicy", "ray", {"spec": within}),
    ]


def _monitoring() -> list[Body]:
    endpoints = [{"port": "metrics", "interval": "15s"}, {"port": "pgpo-metrics"}]
    selector = {"matchLabels": {"ray.io/node-type": "head"}}
    rule = {
        "alert": "PgpoNoStep",
        "expr": "pgpo_step_age_s > 900",
        "for": "15m",
        "labels": {"severity": "info"},
    }
    version = "monitoring.coreos.com/v1"
    monitor: Body = {"spec": {"selector": selector, "podMetricsEndpoints": endpoints}}
    rules: Body = {"spec": {"groups": [{"name": "pgpo", "interval": "30s", "rules": [rule]}]}}
    return [
        _object(version, "PodMonitor", "ray-head", monitor),
        _object(version, "PrometheusRule", "pgpo", rules),
    ]


def _queues() -> list[Body]:
    version = "kueue.x-k8s.io/v1beta1"
    quota = [{"name": "cpu", "nominalQuota": 8}, {"name": "memory", "nominalQuota": "32Gi"}]
    group = {"coveredResources": ["cpu", "memory"], "flavors": [{"name": "plain", "resources": quota}]}
    cluster_queue: Body = {"spec": {"namespaceSelector": {}, "resourceGroups": [group]}}
    return [
        _object(version, "ResourceFlavor", "plain", {}, namespaced=False),
        _object(version, "ClusterQueue", "training", cluster_queue, namespaced=False),
        _object(version, "LocalQueue", "pgpo", {"spec": {"clusterQueue": "training"}}),
    ]


def _rights() -> list[Body]:
    version = "rbac.authorization.k8s.io/v1"
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}]
    bound: Body = {
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "pgpo"},
        "subjects": [{"kind": "ServiceAccount", "name": "pgpo", "namespace": NAMESPACE}],
    }
    return [
        _object("v1", "ServiceAccount", "pgpo", {"automountServiceAccountToken": False}),
        _object(version, "Role", "pgpo", {"rules": rules}),
        _object(version, "RoleBinding", "pgpo", bound),
    ]


def _storage() -> list[Body]:
    claim: Body = {"spec": {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "50Gi"}}}}
    return [
        _object("v1", "ConfigMap", "pgpo-config", {"data": {"config.yaml": yaml.safe_dump(CONFIG)}}),
        _object("v1", "PersistentVolumeClaim", "pgpo-runs", claim),
    ]


def valid_manifests() -> list[Body]:
    """Return the objects, each its own copy: a small but whole run with monitoring and queues."""
    priority: Body = {"value": 1000, "description": "training"}
    objects = [
        _object("v1", "Namespace", NAMESPACE, {}, namespaced=False),
        *_rights(),
        *_storage(),
        _object("scheduling.k8s.io/v1", "PriorityClass", "pgpo-training", priority, namespaced=False),
        *_policies(),
        _ray_job(),
        *_monitoring(),
        *_queues(),
    ]
    return [json.loads(json.dumps(each)) for each in objects]


class Planted:
    """A copy of the valid set; faults reach into it by kind."""

    def __init__(self) -> None:
        self.bodies = copy.deepcopy(valid_manifests())

    def the(self, kind: str, name: str | None = None) -> Body:
        """Return the first object of a kind."""
        return next(
            body for body in self.bodies if body["kind"] == kind and name in (None, body["metadata"]["name"])
        )

    @property
    def job(self) -> Body:
        """The RayJob's spec."""
        spec: Body = self.the("RayJob")["spec"]
        return spec

    @property
    def cluster(self) -> Body:
        """The Ray cluster's spec."""
        spec: Body = self.job["rayClusterSpec"]
        return spec

    @property
    def head(self) -> Body:
        """The head's group."""
        group: Body = self.cluster["headGroupSpec"]
        return group

    def group(self, name: str) -> Body:
        """Return a worker group by its name."""
        return next(group for group in self.cluster["workerGroupSpecs"] if group["groupName"] == name)

    def drop(self, kind: str, name: str | None = None) -> None:
        """Take an object out."""
        self.bodies.remove(self.the(kind, name))

    def configure(self, **changes: Any) -> None:
        """Change fields of the run config."""
        data = self.the("ConfigMap")["data"]
        config = yaml.safe_load(data["config.yaml"])
        data["config.yaml"] = yaml.safe_dump({**config, **changes})

    def autoscale(self) -> None:
        """Turn the autoscaler on, as it should be."""
        context = copy.deepcopy(self.head["template"]["spec"]["containers"][0]["securityContext"])
        self.cluster["enableInTreeAutoscaling"] = True
        self.cluster["autoscalerOptions"] = {"version": "v2", "securityContext": context}

    def check(self, crds: Path | None) -> list[Finding]:
        """Return what is found."""
        return check_manifests([Manifest(file="k8s.yaml", body=body) for body in self.bodies], crds)
