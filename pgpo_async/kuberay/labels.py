"""Names by which the manifests' objects find each other: labels of pods, ports, volumes, mount paths."""

from collections.abc import Mapping
from typing import Any

from pgpo_async.kuberay.cluster_config import CONFIG_FOLDER, DATA_FOLDER, EXPORTER_PORT, RUNS_FOLDER

Manifest = dict[str, Any]
"""One object, as YAML holds it."""

PART_OF = {"app.kubernetes.io/part-of": "pgpo-async"}
"""All our objects, and all pods of all runs in a namespace."""
INSTANCE = "app.kubernetes.io/instance"
"""A run's."""
COMPONENT = "app.kubernetes.io/component"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
"""Kueue's: the LocalQueue that an object waits in."""
HEAD, SUBMITTER = "head", "submitter"
"""Values of COMPONENT; a worker's is its role."""

HOME_FOLDER, TEMPORARY_FOLDER, SHARED_FOLDER = "/home/pgpo", "/tmp", "/dev/shm"
MOUNTS: Mapping[str, str] = {
    "config": CONFIG_FOLDER,
    "runs": RUNS_FOLDER,
    "data": DATA_FOLDER,
    "shared-memory": SHARED_FOLDER,
    "temporary": TEMPORARY_FOLDER,
    "home": HOME_FOLDER,
}
"""Where each volume is mounted; nothing else can be written to."""

GCS_PORT, DASHBOARD_PORT, CLIENT_PORT, METRICS_PORT, AGENT_PORT = 6379, 8265, 10001, 8080, 52365
AUTOSCALER_METRICS_PORT, DASHBOARD_METRICS_PORT = 44217, 44227
HEAD_PORTS: Mapping[str, int] = {
    "gcs-server": GCS_PORT,
    "dashboard": DASHBOARD_PORT,
    "client": CLIENT_PORT,
    "metrics": METRICS_PORT,
    "as-metrics": AUTOSCALER_METRICS_PORT,
    "dash-metrics": DASHBOARD_METRICS_PORT,
    "pgpo-metrics": EXPORTER_PORT,
}
"""By name; the head's Service gets what stands here, and only that."""
WORKER_PORTS: Mapping[str, int] = {"metrics": METRICS_PORT}


def labels(run: str, component: str) -> dict[str, str]:
    """Return the labels of a run's pods."""
    return {**PART_OF, INSTANCE: run, COMPONENT: component}
