"""The nodes of a Ray that is there: waited for before a run starts on them, and left before they go.

A cluster's nodes may still be coming when a run is launched: an autoscaler is told what it needs, and so long
no actor is made. Knows no actors. Called by `cluster` and `supervisor`.
"""

import time
from collections.abc import Callable

import ray
from ray._private import state

from pgpo_async.config.pipeline import RayConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.orchestration.placement import NodeOffer, PlacementPlan

LOOK_S = 1.0
SAY_S = 15.0


def nodes_there() -> list[NodeOffer]:
    """Return the nodes that live."""
    return [
        NodeOffer(resources=node["Resources"], labels=node.get("Labels") or {})
        for node in ray.nodes()
        if node["Alive"]
    ]


def wait_for_nodes(plan: PlacementPlan, config: RayConfig, say: Callable[[str], None]) -> None:
    """Wait until a cluster that was joined has what the plan asks for; a Ray started here has it or never.

    Raises ConfigError with what is lacking.
    """
    if config.address is None:
        plan.check(nodes_there())
        return
    lacking = plan.lacking(nodes_there())
    if not lacking:
        return
    from ray.autoscaler.sdk import request_resources

    began_s = said_s = time.monotonic()
    say(f"waiting for nodes, at most {config.nodes_timeout_s:.0f} s: {'; '.join(lacking)}")
    actors = [role for role in plan.roles if role.bundle for _ in range(role.replicas)]
    request_resources(
        bundles=[role.bundle for role in actors],
        bundle_label_selectors=[dict(role.labels) for role in actors],
    )
    try:
        while lacking := plan.lacking(nodes_there()):
            waited_s = time.monotonic() - began_s
            if waited_s > config.nodes_timeout_s:
                waited = f" (after {waited_s:.0f} s, ray.nodes_timeout_s)"
                raise ConfigError([line + waited for line in lacking])
            if time.monotonic() - said_s > SAY_S:
                said_s = time.monotonic()
                say(f"waiting for nodes since {waited_s:.0f} s: {'; '.join(lacking)}")
            time.sleep(LOOK_S)
    finally:
        request_resources(bundles=[])  # from here on actors ask for themselves


def draining_nodes() -> frozenset[str]:
    """Return the ids of nodes that are about to go: taken back by their cloud, or by an autoscaler.

    Ray does not promise this interface; where it is gone there are none.
    """
    try:
        return frozenset(state.state.get_draining_nodes())
    except Exception:
        return frozenset()


def node_of(actor: object) -> str | None:
    """Return the id of the node an actor is on, if Ray says so."""
    try:
        found = state.actors(actor._actor_id.hex())  # type: ignore[attr-defined]
        return str(found["Address"]["NodeID"])
    except Exception:  # as above
        return None


def metrics_urls() -> list[str]:
    """Where Prometheus finds what Ray itself exports, a node each; none where Ray came without its extra."""
    return [
        f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        for node in ray.nodes()
        if node["Alive"] and node.get("MetricsExportPort", -1) > 0
    ]
