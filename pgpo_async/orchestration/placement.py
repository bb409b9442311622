"""The placement plan: what every role asks of Ray, and whether the machines have it.

Pure: `launch --dry-run` prints the plan on any machine, `cluster` checks it against the real resources
before the first actor is made, so that a run never waits for a device that does not exist.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from rich.table import Table

from pgpo_async.config.pipeline import RoleConfig
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError

# The queue and the weight store wait more than they work, and are placed beside the driver: none counted,
# so that this may be a head node that is to have no work.
CONTROL_CPUS = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class RolePlan:
    """One role: how many actors, and what each asks for."""

    role: str
    replicas: int
    cpus: float
    gpus: float
    work: str


@dataclass(frozen=True, kw_only=True, slots=True)
class PlacementPlan:
    """All roles of a run."""

    roles: tuple[RolePlan, ...]

    def total(self, resource: str) -> float:
        """Sum of `cpus` or `gpus` over all actors."""
        return sum(role.replicas * float(getattr(role, resource)) for role in self.roles)

    def check(self, available: Mapping[str, float]) -> None:
        """Raise ConfigError with a line for each resource of which the cluster has too little.

        `available` is Ray's `cluster_resources()`: keys `CPU`, `GPU`.
        """
        issues = []
        for resource, key in (("gpus", "GPU"), ("cpus", "CPU")):
            asked, there = self.total(resource), available.get(key, 0.0)
            if asked > there + 1e-6:
                users = ", ".join(
                    f"{r.role} {r.replicas} x {getattr(r, resource):g}"
                    for r in self.roles
                    if getattr(r, resource)
                )
                issues.append(
                    f"{users.split()[0]}.{resource}: the run asks for {asked:g} {key}s ({users}), "
                    f"but there are {there:g}; lower `replicas` or `{resource}` of a role"
                )
        if issues:
            raise ConfigError(issues)

    def table(self) -> Table:
        """Return the plan for printing."""
        table = Table(title="placement plan", title_justify="left")
        for name in ("role", "replicas", "CPUs each", "GPUs each", "work"):
            table.add_column(name, justify="left" if name in ("role", "work") else "right")
        for role in self.roles:
            table.add_row(role.role, str(role.replicas), f"{role.cpus:g}", f"{role.gpus:g}", role.work)
        table.add_section()
        actors = sum(role.replicas for role in self.roles)
        table.add_row(
            "all", str(actors), f"{self.total('cpus'):g}", f"{self.total('gpus'):g}", "sums over actors"
        )
        return table


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
    roles = [
        RolePlan(
            role=name,
            replicas=getattr(config, name).replicas,
            cpus=getattr(config, name).cpus,
            gpus=getattr(config, name).gpus,
            work=text,
        )
        for name, text in work.items()
    ]
    control = {
        "queue": f"replay queue, {config.max_slots} admission slots",
        "store": f"weight versions, {config.weights.keep_versions} kept",
    }
    roles += [RolePlan(role=n, replicas=1, cpus=CONTROL_CPUS, gpus=0.0, work=w) for n, w in control.items()]
    return PlacementPlan(roles=tuple(roles))


def check_room(role: RoleConfig, num_more: int, available: Mapping[str, float]) -> str | None:
    """Say what a Ray that cannot grow lacks for more actors of a role; None if they fit."""
    for key, each in (("CPU", role.cpus), ("GPU", role.gpus)):
        asked, free = max(0, num_more) * each, available.get(key, 0.0)
        if asked > free + 1e-6:
            counts = " (ray.num_cpus is what Ray counts)" if key == "CPU" else ""
            return f"{num_more} more ask for {asked:g} {key}s, {free:g} are free{counts}"
    return None


def local_cpus(config: RunConfig, machine_cpus: int) -> int:
    """CPUs for a Ray started here: Ray only counts them, so never fewer than the plan asks for."""
    return config.ray.num_cpus or max(machine_cpus, math.ceil(plan_placement(config).total("cpus")))
