"""Which pods a run needs: a worker group for each role, made of the run's config.

    role         generator     scorer        learner (and the reward actors, on CPUs)
    group        generator     scorer        learner
    one pod      actors_per_pod actors, their CPUs and GPUs, one resource `pgpo_ROLE` an actor
    pods         replicas / actors_per_pod

Engines that evaluate during training (`evaluation.every`) are placed as generators, in the generators' group.
Reward actors are placed beside the learner: what they stand on must neither be taken back by a cloud nor be
kept from an autoscaler that would like to give it back. Pure: no manifest, no bytes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pgpo_async.config.pipeline import RoleConfig
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.kuberay.settings import PodSettings, Settings

ROLE_LABEL = "pgpo-async/role"
"""Ray's label of a group's nodes, and Kubernetes' of its pods."""
WORKERS = ("generator", "scorer", "learner")


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupShape:
    """One worker group."""

    role: str
    pods: int
    """With which the run starts."""
    min_pods: int
    max_pods: int
    """Bounds of an autoscaler; the learner's group never changes."""
    actors_per_pod: int
    cpus: float
    """Of one pod, for all actors on it."""
    gpus: int
    resources: Mapping[str, int]
    """What else it offers Ray."""
    labels: Mapping[str, str]
    """Ray's labels of its nodes."""
    spot: bool

    @property
    def ray_cpus(self) -> int:
        """CPUs that the pod offers Ray, which counts whole ones."""
        return max(1, math.ceil(self.cpus - 1e-9))


def group_shapes(config: RunConfig, settings: Settings) -> list[GroupShape]:
    """Return the worker groups. Raises ConfigError for roles that no group of their own can hold."""
    issues = [issue for role in _roles(config) for issue in _problems(role, getattr(config, role))]
    if config.reward.labels or config.reward.resources:
        issues.append("reward: labels and resources must be left out: reward actors run beside the learner")
    if issues:
        raise ConfigError(issues)
    shapes = [_shape(role, config, settings) for role in _roles(config)]
    most = settings.scheduling.gpus_per_machine
    if too_many := [
        f"{shape.role}.actors_per_pod: {shape.actors_per_pod} actors need {shape.gpus} GPUs in one pod, "
        f"a machine has {most} (scheduling.gpus_per_machine)"
        for shape in shapes
        if shape.gpus > most
    ]:
        raise ConfigError(too_many)
    return shapes


def placed(config: RunConfig) -> dict[str, dict[str, object]]:
    """Return the labels and resources that bring each role's actors to its group."""
    asked: dict[str, dict[str, object]] = {}
    for role in _roles(config):
        own: RoleConfig = getattr(config, role)
        asked[role] = {
            "labels": {**own.labels, ROLE_LABEL: role},
            "resources": {**own.resources, _resource(role): 1.0},
        }
    asked["reward"] = {"labels": {ROLE_LABEL: "learner"}, "resources": {}}
    return asked


def _roles(config: RunConfig) -> list[str]:
    return [role for role in WORKERS if role != "scorer" or config.uses_scorers]


def _resource(role: str) -> str:
    return f"pgpo_{role}"


def _shape(role: str, config: RunConfig, settings: Settings) -> GroupShape:
    own: RoleConfig = getattr(config, role)
    pod: PodSettings = getattr(settings, role)
    each = pod.actors_per_pod or _actors_per_pod(role, own, settings)
    evaluators = config.evaluation.replicas if role == "generator" and config.evaluation.every else 0
    pods = math.ceil((own.replicas + evaluators) / each)
    fixed = role == "learner"
    fewest = math.ceil((getattr(own, "min_replicas", own.replicas) + evaluators) / each)
    cpus = each * own.cpus
    if fixed:
        cpus += math.ceil(config.reward.replicas / pods) * config.reward.cpus
    return GroupShape(
        role=role,
        pods=pods,
        min_pods=pods if fixed else min(fewest, pods),
        max_pods=pods if fixed else max(pod.max_pods or 2 * pods, pods),
        actors_per_pod=each,
        cpus=cpus,
        gpus=math.ceil(each * own.gpus - 1e-9),
        resources={
            _resource(role): each,
            **{n: math.ceil(each * amount) for n, amount in own.resources.items()},
        },
        labels={**own.labels, ROLE_LABEL: role},
        spot=pod.spot,
    )


def _actors_per_pod(role: str, own: RoleConfig, settings: Settings) -> int:
    if role == "learner":
        return min(own.replicas, settings.scheduling.gpus_per_machine) if own.gpus else own.replicas
    # Several that share one GPU share its pod.
    return min(own.replicas, math.floor(1 / own.gpus)) if 0 < own.gpus < 1 else 1


def _problems(role: str, own: RoleConfig) -> list[str]:
    if not own.cpus and not own.gpus:
        return [f"{role}.cpus: must be above 0 where {role}.gpus is 0: a pod needs CPUs"]
    return [
        f"{role}.labels: {name}={value!r} must be a plain value, since its pods are given it; "
        "leave it out: each role has a group of its own"
        for name, value in own.labels.items()
        if value.startswith(("!", "in("))
    ]
