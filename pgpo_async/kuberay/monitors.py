"""What the Prometheus Operator and Grafana's side-car read: PodMonitors, a PrometheusRule, dashboards.

All from `metrics`' registry. Ray's own metrics come from every node, the run's from its driver, on the head.
"""

from typing import Any

import yaml

from pgpo_async.kuberay.labels import PART_OF, Manifest
from pgpo_async.kuberay.network import HEAD_PODS, WORKER_PODS
from pgpo_async.kuberay.settings import Settings
from pgpo_async.metrics.monitoring_files import FOLDER, RULES, monitoring_texts

DASHBOARD_LABEL = {"grafana_dashboard": "1"}
"""By which Grafana's side-car finds dashboards."""
# Not `role` or `run`: metrics of ours have these labels themselves.
_FROM_POD = {"ray_cluster": "ray_io_cluster", "ray_group": "ray_io_group"}


def monitor_objects(settings: Settings) -> list[Manifest]:
    """Return them all; they serve all runs of a namespace."""
    if not settings.monitoring.enabled:
        return []
    return [
        _pod_monitor("ray-head", HEAD_PODS, ("metrics", "as-metrics", "dash-metrics"), settings),
        _pod_monitor("ray-workers", WORKER_PODS, ("metrics",), settings),
        _pod_monitor("exporter", HEAD_PODS, ("pgpo-metrics",), settings),
        _rule(settings),
        *dashboards(settings),
    ]


def dashboards(settings: Settings) -> list[Manifest]:
    """Return a ConfigMap for each dashboard."""
    texts = monitoring_texts(settings.monitoring.runbook)
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": f"pgpo-async-dashboard-{_stem(path)}",
                "namespace": settings.namespace,
                "labels": {**PART_OF, **DASHBOARD_LABEL},
            },
            "data": {path.removeprefix(f"{FOLDER}/"): text},
        }
        for path, text in texts.items()
        if path.startswith(FOLDER)
    ]


def is_dashboard(found: Manifest) -> bool:
    """Whether an object is one of them."""
    labels: dict[str, str] = found["metadata"].get("labels", {})
    return all(labels.get(name) == value for name, value in DASHBOARD_LABEL.items())


def _rule(settings: Settings) -> Manifest:
    text = monitoring_texts(settings.monitoring.runbook)[RULES]
    spec: Any = yaml.safe_load(text)
    return _object("PrometheusRule", "alerts", spec, settings)


def _pod_monitor(name: str, pods: dict[str, str], ports: tuple[str, ...], settings: Settings) -> Manifest:
    relabelings = [
        {
            "action": "replace",
            "sourceLabels": [f"__meta_kubernetes_pod_label_{label}"],
            "targetLabel": target,
        }
        for target, label in _FROM_POD.items()
    ]
    endpoints = [{"port": port, "interval": "15s", "relabelings": relabelings} for port in ports]
    spec = {
        "selector": {"matchLabels": {**PART_OF, **pods}},
        "namespaceSelector": {"matchNames": [settings.namespace]},
        "podMetricsEndpoints": endpoints,
    }
    return _object("PodMonitor", name, spec, settings)


def _object(kind: str, name: str, spec: Manifest, settings: Settings) -> Manifest:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": kind,
        "metadata": {
            "name": f"pgpo-async-{name}",
            "namespace": settings.namespace,
            "labels": {**PART_OF, **settings.monitoring.labels},
        },
        "spec": spec,
    }


def _stem(path: str) -> str:
    return path.rpartition("/")[2].removesuffix(".json")
