"""The placement plan: what every role asks of Ray, and whether the machines have it.

Pure: `launch --dry-run` prints the plan on any machine, `cluster` checks it against the real resources
before the first actor is made, so that a run never waits for a device that does not exist.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rich.table import Table

from pgpo_async.config.pipeline import RoleConfig
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError

# The queue and the weight store wait more than they work, and are placed beside the driver: none counted,
# so that this may be a head node that is to have no work.
CONTROL_CPUS = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeOffer:
    """What a node of Ray's has, used or not: resources by Ray's names (CPU, GPU, others), and its labels."""

    resources: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class RolePlan:
    """One role: how many actors, and what each asks for."""

    role: str
    replicas: int
    work: str
    cpus: float = 0.0
    gpus: float = 0.0
    resources: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def bundle(self) -> dict[str, float]:
        """What one actor asks for, by Ray's names."""
        asked = {"GPU": self.gpus, "CPU": self.cpus, **self.resources}
        return {name: amount for name, amount in asked.items() if amount}


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacementPlan:
    """All roles of a run."""

    roles: tuple[RolePlan, ...]

    def total(self, resource: str) -> float:
        """Sum over all actors of a resource, by Ray's name."""
        return sum(role.replicas * role.bundle.get(resource, 0.0) for role in self.roles)

    def lacking(self, nodes: Sequence[NodeOffer]) -> list[str]:
        """Return a line for each thing that these nodes have too little of, or none."""
        return [*self._too_little(nodes), *(line for role in self.roles for line in _misfits(role, nodes))]

    def _too_little(self, nodes: Sequence[NodeOffer]) -> Iterator[str]:
        for name in dict.fromkeys(name for role in self.roles for name in role.bundle):
            asked, there = self.total(name), sum(node.resources.get(name, 0.0) for node in nodes)
            if asked > there + 1e-6:
                using = [role for role in self.roles if name in role.bundle]
                users = ", ".join(f"{role.role} {role.replicas} x {role.bundle[name]:g}" for role in using)
                yield (
                    f"{using[0].role}.{_field(name)}: the run asks for {asked:g} {_plural(name)} ({users}), "
                    f"but there are {there:g}; lower `replicas` or `{_field(name)}` of a role"
                )

    def check(self, nodes: Sequence[NodeOffer]) -> None:
        """Raise ConfigError with what is `lacking`, if anything is."""
        if issues := self.lacking(nodes):
            raise ConfigError(issues)

    def table(self) -> Table:
        """Return the plan for printing."""
        table = Table(title="placement plan", title_justify="left")
        for name in ("role", "replicas", "CPUs each", "GPUs each", "work"):
            table.add_column(name, justify="left" if name in ("role", "work") else "right")
        for role in self.roles:
            where = "".join(f"; {name} {amount:g}" for name, amount in role.resources.items())
            where += "".join(f"; on {label}={value}" for label, value in role.labels.items())
            table.add_row(
                role.role, str(role.replicas), f"{role.cpus:g}", f"{role.gpus:g}", f"{role.work}{where}"
            )
        table.add_section()
        actors = sum(role.replicas for role in self.roles)
        table.add_row(
            "all", str(actors), f"{self.total('CPU'):g}", f"{self.total('GPU'):g}", "sums over actors"
        )
        return table


def _misfits(role: RolePlan, nodes: Sequence[NodeOffer]) -> Iterator[str]:
    """Whatever is there in all: an actor has to fit a node that is meant for it."""
    meant = [node for node in nodes if all(matches(node.labels, *label) for label in role.labels.items())]
    if role.labels and not meant:
        wanted = ", ".join(f"{label}={value}" for label, value in role.labels.items())
        yield f"{role.role}.labels: no node has {wanted}"
        return
    for name, amount in role.bundle.items():
        most = max((node.resources.get(name, 0.0) for node in meant), default=0.0)
        # Where there is none at all the sum says so.
        if 0.0 < most < amount - 1e-6:
            yield (
                f"{role.role}.{_field(name)}: each asks for {amount:g} {_plural(name)}, no node it may use "
                f"has more than {most:g}"
            )


def matches(labels: Mapping[str, str], name: str, wanted: str) -> bool:
    """Whether a node's labels fit one of Ray's selectors: value, !value, in(a, b), !in(a, b)."""
    positive = wanted.removeprefix("!")
    listed = positive.removeprefix("in(").removesuffix(")") if positive.startswith("in(") else positive
    found = labels.get(name) in [value.strip() for value in listed.split(",")]
    return found != wanted.startswith("!")


def _field(resource: str) -> str:
    return {"CPU": "cpus", "GPU": "gpus"}.get(resource, f"resources.{resource}")


def _plural(resource: str) -> str:
    return f"{resource}s" if resource in ("CPU", "GPU") else resource


def plan_placement(config: RunConfig) -> PlacementPlan:
    """Return what the run needs."""
    generation, learner = config.generation, config.learner
    work = {
        "generator": f"vLLM, {config.generator.prompts_in_flight} prompts of {generation.group_size} each",
        "scorer": f"sighted and blind passes, {config.scorer.pass_tokens} tokens a pass",
        "learner": f"DeepSpeed ZeRO {learner.zero_stage}, {config.train.groups_per_step} groups a step",
        "reward": f"verifiers, {config.reward.timeout_s:g} s a group",
    }
    if not config.uses_scorers:
        del work["scorer"]
    roles = [_role_plan(name, getattr(config, name), text) for name, text in work.items()]
    if config.evaluation.every:
        evaluator = config.generator.model_copy(update={"replicas": config.evaluation.replicas})
        text = f"vLLM, held-out prompts every {config.evaluation.every} steps, placed as a generator"
        roles.append(_role_plan("evaluation", evaluator, text))
    control = {
        "queue": f"replay queue, {config.max_slots} admission slots",
        "store": f"weight versions, {config.weights.keep_versions} kept",
    }
    roles += [RolePlan(role=n, replicas=1, cpus=CONTROL_CPUS, work=w) for n, w in control.items()]
    return PlacementPlan(roles=tuple(roles))


def _role_plan(name: str, role: RoleConfig, work: str) -> RolePlan:
    asked = role.model_dump(include={"cpus", "gpus", "resources", "labels"})
    return RolePlan(role=name, replicas=role.replicas, work=work, **asked)


def check_room(role: RoleConfig, num_more: int, available: Mapping[str, float]) -> str | None:
    """Say what a Ray that cannot grow lacks for more actors of a role; None if they fit."""
    for key, each in (("CPU", role.cpus), ("GPU", role.gpus), *role.resources.items()):
        asked, free = max(0, num_more) * each, available.get(key, 0.0)
        if asked > free + 1e-6:
            counts = " (ray.num_cpus is what Ray counts)" if key == "CPU" else ""
            return f"{num_more} more ask for {asked:g} {_plural(key)}, {free:g} are free{counts}"
    return None


def local_cpus(config: RunConfig, machine_cpus: int) -> int:
    """CPUs for a Ray started here: Ray only counts them, so never fewer than the plan asks for."""
    return config.ray.num_cpus or max(machine_cpus, math.ceil(plan_placement(config).total("CPU")))
