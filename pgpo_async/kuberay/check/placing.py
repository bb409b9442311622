"""Whether the cluster's pods have what the roles of the run ask for. Called by `run`.

Ray sees of a pod what the operator tells it: the group's `resources`, else `rayStartParams`, else the limits
of the Ray container; and the group's `labels`.
"""

import json
import math
from collections.abc import Iterator, Mapping

from pgpo_async.config import RunConfig
from pgpo_async.kuberay.check.manifest import Finding
from pgpo_async.kuberay.check.quantities import quantity
from pgpo_async.kuberay.check.ray import Cluster, Group
from pgpo_async.kuberay.check.values import mapping, part, text, whole
from pgpo_async.orchestration.placement import (
    NodeOffer,
    PlacementPlan,
    RolePlan,
    matches,
    plan_placement,
)


def check_placement(cluster: Cluster, config: RunConfig) -> Iterator[Finding]:
    """Check that every role fits: in all, on the pods that are meant for it, and as often as it is wanted."""
    yield from _check_gpus(cluster)
    plan = plan_placement(config)
    nodes = offers(cluster, most=sum(role.replicas for role in plan.roles))
    lacking = list(dict.fromkeys([*plan.lacking(nodes), *_too_few(plan, nodes)]))
    for line in lacking:
        yield cluster.manifest.error((*cluster.path, "workerGroupSpecs"), f"the run does not fit: {line}")


def _check_gpus(cluster: Cluster) -> Iterator[Finding]:
    """Ray may count CPUs as it likes; a GPU that the container does not have fails the actor."""
    for group in cluster.groups:
        stated = quantity(part(group.body, "resources", "GPU"))
        owned = _gpus(group)
        limits = mapping(group.ray_container, "resources", "limits")
        other_devices = owned == 0 and any("/" in str(name) for name in limits)
        if stated is not None and stated != owned and not other_devices:
            message = f"must be the GPUs that the Ray container has ({owned:g}), got {stated:g}"
            yield cluster.manifest.error((*group.path, "resources", "GPU"), message)


def _gpus(group: Group) -> float:
    limits = mapping(group.ray_container, "resources", "limits")
    return sum(quantity(amount) or 0.0 for name, amount in limits.items() if str(name).endswith("gpu"))


def _too_few(plan: PlacementPlan, nodes: list[NodeOffer]) -> Iterator[str]:
    """A role may have enough in all, but not where it is to be placed."""
    if plan.lacking(nodes):
        return
    for role in plan.roles:
        meant = [node for node in nodes if all(matches(node.labels, *label) for label in role.labels.items())]
        fitting = sum(_places(role, node) for node in meant)
        if role.bundle and fitting < role.replicas:
            each = ", ".join(f"{name} {amount:g}" for name, amount in role.bundle.items())
            yield (
                f"{role.role}.replicas: {role.replicas} of {each} each are asked for, the pods meant for "
                f"them have room for {fitting}"
            )


def _places(role: RolePlan, node: NodeOffer) -> int:
    room = [node.resources.get(name, 0.0) / amount for name, amount in role.bundle.items()]
    return math.floor(min(room, default=0.0) + 1e-6)


def offers(cluster: Cluster, *, most: int) -> list[NodeOffer]:
    """Return what each pod offers; `most` of a group at most, more could not be used."""
    return [
        NodeOffer(resources=_resources(group), labels={**group.labels, "ray.io/node-group": group.name})
        for group in cluster.groups
        for _ in range(min(_num_pods(cluster, group), most))
    ]


def _num_pods(cluster: Cluster, group: Group) -> int:
    if group.is_head:
        return 1
    if part(group.body, "suspend") is True:
        return 0
    least, number = whole(group.body, "minReplicas") or 0, whole(group.body, "replicas") or 0
    count = max(least, number)
    if cluster.autoscaling:
        top = whole(group.body, "maxReplicas")
        count = 2**31 if top is None else top
    hosts = whole(group.body, "numOfHosts")
    return max(0, count) * (1 if hosts is None else max(0, hosts))


def _resources(group: Group) -> dict[str, float]:
    named, params = mapping(group.body, "resources"), group.ray_start_params
    limits = mapping(group.ray_container, "resources", "limits")
    requests = mapping(group.ray_container, "resources", "requests")
    cpus = quantity(limits.get("cpu", requests.get("cpu")))
    found = {"CPU": math.ceil(cpus or 0.0), "GPU": _gpus(group), **_custom(params)}
    for name, key in (("CPU", "num-cpus"), ("GPU", "num-gpus")):
        if (stated := quantity(params.get(key))) is not None:
            found[name] = stated
    for name, amount in named.items():
        if name != "memory" and (stated := quantity(amount)) is not None:
            found[str(name)] = stated
    return {name: float(amount) for name, amount in found.items()}


def _custom(params: Mapping[str, object]) -> dict[str, float]:
    """`resources: '"{\\"slot\\": 1}"'`: a mapping in JSON, quoted for a shell."""
    written = text(params, "resources").strip().strip("'\"").replace('\\"', '"')
    try:
        found = json.loads(written) if written else {}
    except ValueError:
        return {}
    amounts = {name: quantity(amount) for name, amount in mapping(found).items()}
    return {name: amount for name, amount in amounts.items() if amount is not None}
