"""NetworkPolicies: in a run's namespace nothing passes but what is named here.

    to              from                                port
    Ray's pods      Ray's pods of the same namespace    any: raylets, workers, collectives choose theirs
    head            the submitter                       dashboard
    head            KubeRay's operator                  dashboard, the agent's
    Ray's pods      Prometheus                          metrics
    DNS             all                                 53
    anywhere        Ray's pods                          `network.egress_ports`
    Redis           head, the operator's clean-up       its port, if there is one

A kubelet's probes pass any policy. Nothing comes in from outside the cluster.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pgpo_async.kuberay.labels import (
    AGENT_PORT,
    COMPONENT,
    DASHBOARD_PORT,
    HEAD_PORTS,
    PART_OF,
    SUBMITTER,
    Manifest,
)
from pgpo_async.kuberay.settings import Settings

RAY_PODS = {"ray.io/is-ray-node": "yes"}
"""The operator gives it to head and workers, not to the submitter."""
HEAD_PODS = {"ray.io/node-type": "head"}
WORKER_PODS = {"ray.io/node-type": "worker"}
NAMESPACE = "kubernetes.io/metadata.name"
METRICS_PORTS = tuple(number for name, number in HEAD_PORTS.items() if name.endswith("metrics"))


def network_policies(settings: Settings) -> list[Manifest]:
    """Return the policies of a namespace; they serve all its runs."""
    network = settings.network
    submitter = {**PART_OF, COMPONENT: SUBMITTER}
    ray_pods: list[Any] = [_pods(RAY_PODS)]
    policies = [
        _policy(settings, "default-deny", {}, ["Ingress", "Egress"]),
        _policy(
            settings,
            "dns",
            {},
            ["Egress"],
            egress=[{"to": [_in_namespace(network.dns_namespace)], "ports": [_port(53, "UDP"), _port(53)]}],
        ),
        _policy(
            settings,
            "ray",
            RAY_PODS,
            ["Ingress", "Egress"],
            ingress=[{"from": ray_pods}],
            egress=[{"to": ray_pods}],
        ),
        _policy(
            settings,
            "ray-head",
            HEAD_PODS,
            ["Ingress"],
            ingress=[
                {"from": [_pods(submitter)], "ports": [_port(DASHBOARD_PORT)]},
                {
                    "from": [_in_namespace(network.operator_namespace)],
                    "ports": [_port(DASHBOARD_PORT), _port(AGENT_PORT)],
                },
            ],
        ),
        _policy(
            settings,
            "submitter",
            submitter,
            ["Egress"],
            egress=[{"to": [_pods(HEAD_PODS)], "ports": [_port(DASHBOARD_PORT)]}],
        ),
        _policy(
            settings,
            "metrics",
            RAY_PODS,
            ["Ingress"],
            ingress=[
                {
                    "from": [_in_namespace(network.prometheus_namespace)],
                    "ports": [_port(number) for number in METRICS_PORTS],
                }
            ],
        ),
    ]
    if network.egress_ports:
        ports = [_port(number) for number in network.egress_ports]
        policies.append(_policy(settings, "outside", RAY_PODS, ["Egress"], egress=[{"ports": ports}]))
    if settings.redis is not None:
        policies.append(_redis(settings, settings.redis.address))
    return policies


def api_server_policy(settings: Settings) -> Manifest:
    """Return the policy that lets an autoscaler, in the head's pod, ask the API server."""
    ports = [_port(number) for number in settings.network.api_server_ports]
    return _policy(settings, "api-server", HEAD_PODS, ["Egress"], egress=[{"ports": ports}])


def _redis(settings: Settings, address: str) -> Manifest:
    port = address.rpartition(":")[2]
    number = int(port) if port.isdecimal() else 6379
    policy = _policy(settings, "redis", {}, ["Egress"], egress=[{"ports": [_port(number)]}])
    # The operator cleans up in a pod of its own once the cluster is gone.
    nodes = {"key": "ray.io/node-type", "operator": "In", "values": ["head", "redis-cleanup"]}
    policy["spec"]["podSelector"] = {"matchExpressions": [nodes]}
    return policy


def _policy(
    settings: Settings,
    name: str,
    pods: Mapping[str, str],
    types: Sequence[str],
    **rules: Sequence[Manifest],
) -> Manifest:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": f"pgpo-async-{name}",
            "namespace": settings.namespace,
            "labels": dict(PART_OF),
        },
        "spec": {
            "podSelector": {"matchLabels": dict(pods)} if pods else {},
            "policyTypes": list(types),
            **rules,
        },
    }


def _pods(labels: Mapping[str, str]) -> Manifest:
    return {"podSelector": {"matchLabels": dict(labels)}}


def _in_namespace(name: str) -> Manifest:
    return {"namespaceSelector": {"matchLabels": {NAMESPACE: name}}}


def _port(number: int, protocol: str = "TCP") -> Manifest:
    return {"protocol": protocol, "port": number}
