"""Labels that must match a pod of the folder, and ports that its containers must have. Called by `checking`.

Labels whose value is made up when a job runs (`ray.io/cluster`) match any value. A selector of pods in other
namespaces (DNS, Prometheus) cannot be checked here.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pgpo_async.config.fields import closest
from pgpo_async.config.issues import Path
from pgpo_async.kuberay.check.manifest import Finding, Manifest
from pgpo_async.kuberay.check.pods import Pod, all_pods
from pgpo_async.kuberay.check.schemas.monitoring import API_GROUP as MONITORING
from pgpo_async.kuberay.check.security.network import DIRECTIONS, is_policy
from pgpo_async.kuberay.check.values import entries, mapping, mappings, part, text, texts

METRICS_PORT = "metrics"
"""The operator adds it to every Ray container that has none."""


def check_selectors(manifests: list[Manifest]) -> Iterator[Finding]:
    """Check what selects pods: policies, monitors, services, disruption budgets."""
    pods = all_pods(manifests)
    if not pods:
        return
    for manifest in manifests:
        here = [pod for pod in pods if pod.manifest.namespace == manifest.namespace]
        if is_policy(manifest):
            yield from _check_policy(manifest, here)
        elif manifest.is_a("policy", "PodDisruptionBudget"):
            yield from _check_matches(manifest, ("spec", "selector"), here)
        elif manifest.is_a("", "Service") and mapping(manifest.body, "spec", "selector"):
            wanted = {"matchLabels": mapping(manifest.body, "spec", "selector")}
            yield from _check_matches(manifest, ("spec", "selector"), here, wanted)
        elif manifest.is_a(MONITORING, "PodMonitor"):
            yield from _check_monitor(
                manifest, pods if mapping(manifest.body, "spec", "namespaceSelector") else here
            )


def _check_policy(policy: Manifest, pods: list[Pod]) -> Iterator[Finding]:
    yield from _check_matches(policy, ("spec", "podSelector"), pods)
    for key, peers in DIRECTIONS.values():
        for number, rule in mappings(policy.body, "spec", key):
            for index, peer in mappings(rule, peers):
                if "podSelector" in peer and "namespaceSelector" not in peer:
                    yield from _check_matches(
                        policy, ("spec", key, number, peers, index, "podSelector"), pods
                    )


def _check_monitor(monitor: Manifest, pods: list[Pod]) -> Iterator[Finding]:
    path: Path = ("spec", "selector")
    selected = [pod for pod in pods if selects(mapping(monitor.body, *path), pod)]
    if not selected:
        yield from _check_matches(monitor, path, pods)
        return
    ports = {port for pod in selected for port in _port_names(pod)}
    for index, endpoint in mappings(monitor.body, "spec", "podMetricsEndpoints"):
        name = text(endpoint, "port")
        if name and name not in ports:
            meant = closest(name, sorted(ports))
            hint = f", did you mean {meant!r}?" if meant else ""
            here = ("spec", "podMetricsEndpoints", index, "port")
            yield monitor.error(here, f"must be a port of a selected pod's container, got {name!r}{hint}")


def _port_names(pod: Pod) -> Iterator[str]:
    if pod.group is not None:
        yield METRICS_PORT
    for container in pod.containers:
        for _, port in mappings(container.body, "ports"):
            if name := text(port, "name"):
                yield name


def _check_matches(
    manifest: Manifest, path: Path, pods: list[Pod], selector: Mapping[str, Any] | None = None
) -> Iterator[Finding]:
    wanted = mapping(manifest.body, *path) if selector is None else selector
    if not any(selects(wanted, pod) for pod in pods):
        labels = ", ".join(f"{key}={value}" for key, value in texts(wanted, "matchLabels").items())
        yield manifest.error(
            path, f"must match a pod of the folder, got {labels or 'expressions'} that none has"
        )


def selects(selector: Mapping[str, Any], pod: Pod) -> bool:
    """Whether a label selector takes this pod, as far as can be known before it runs."""
    made_up = pod.generated_labels - pod.labels.keys()
    for key, value in texts(selector, "matchLabels").items():
        if key not in made_up and pod.labels.get(key) != value:
            return False
    return all(
        _expression_holds(expression, pod.labels, made_up)
        for _, expression in mappings(selector, "matchExpressions")
    )


def _expression_holds(
    expression: Mapping[str, Any], labels: Mapping[str, str], made_up: frozenset[str]
) -> bool:
    key, operator, values = (
        text(expression, "key"),
        part(expression, "operator"),
        entries(expression, "values"),
    )
    if operator == "Exists":
        return key in labels or key in made_up
    if operator == "DoesNotExist":
        return key not in labels and key not in made_up
    if key in made_up:
        return True
    return bool((labels.get(key) in values) == (operator == "In"))
