"""The learner from its first start to its end: its ranks placed together, started again when one dies.

Owns the learner's budget of restarts and its placement group: several ranks get their nodes at once or not at
all, so that two runs on a cluster never hold half a learner each. Called by `cluster`.
"""

import time
from collections.abc import Callable
from typing import Any, Protocol

import ray
from ray.util.placement_group import PlacementGroup, placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import StageFailed
from pgpo_async.learner.group import LearnerGroup, start_group
from pgpo_async.orchestration.actor_calls import was_killed
from pgpo_async.orchestration.nodes import SAY_S
from pgpo_async.orchestration.placement import RolePlan, plan_placement


class MakeRank(Protocol):
    """Makes the actor of one rank, under a name, with options of Ray's."""

    def __call__(self, rank: int, world_size: int, name: str, **options: Any) -> Any:
        """Return its handle."""
        ...


class LearnerLife:
    """`group` is the learner that is up; None while its ranks start."""

    def __init__(self, make: MakeRank, say: Callable[[str], None]) -> None:
        self._make = make
        self._say = say
        self._deaths: list[float] = []
        self._gang: PlacementGroup | None = None
        self.group: LearnerGroup | None = None
        self.num_restarts = 0

    def start(self, config: RunConfig) -> None:
        """Start all ranks; again, within the budget, where one was killed meanwhile.

        Raises StageFailed where they cannot start, or not within `learner.step_timeout_s`.
        """
        while self.group is None:
            options = self._together(config)
            # A name of a rank that was killed may be taken a little longer.
            again = f".{self.num_restarts}" if self.num_restarts else ""

            def make(rank: int, world_size: int) -> Any:
                return self._make(rank, world_size, f"learner-{rank}{again}", **options(rank))  # noqa: B023

            try:
                self.group = start_group(config, make)
            except StageFailed as error:
                if not was_killed(error.__cause__):
                    raise
                self._count(config, error)

    def restart(self, config: RunConfig, error: StageFailed) -> None:
        """Start all ranks again, in place of those that failed; they hold the model the run began with.

        Raises `error` where they were started too often already, StageFailed if they cannot start.
        """
        self._count(config, error)
        if self.group is not None:
            self.group.kill()
            self.group = None
        self.start(config)

    def _count(self, config: RunConfig, error: StageFailed) -> None:
        now_s, most = time.monotonic(), config.learner.max_restarts
        window_s = config.supervision.restart_window_s
        deaths = [death for death in self._deaths if now_s - death <= window_s]
        if len(deaths) >= most:
            tried = f" after {len(deaths)} restarts" if deaths else ""
            raise StageFailed(f"{error}{tried}", role="driver") from error
        self._deaths = [*deaths, now_s]
        self.num_restarts += 1
        self._say(f"{error}; starting its ranks again (restart {len(deaths) + 1} of at most {most})")

    def _together(self, config: RunConfig) -> Callable[[int], dict[str, Any]]:
        """Options by rank that place all ranks together, as close to each other as can be."""
        role = next(role for role in plan_placement(config).roles if role.role == "learner")
        if role.replicas == 1 or not role.bundle:
            return lambda _rank: {}
        if self._gang is None:
            self._gang = placement_group(
                [role.bundle] * role.replicas,
                strategy="PACK",
                bundle_label_selector=[dict(role.labels)] * role.replicas,
            )
        gang = self._gang
        self._wait_for_room(role, gang, config.learner.step_timeout_s)
        return lambda rank: {
            "scheduling_strategy": PlacementGroupSchedulingStrategy(gang, placement_group_bundle_index=rank),
            "label_selector": None,
        }

    def _wait_for_room(self, role: RolePlan, gang: PlacementGroup, timeout_s: float) -> None:
        """After a node's death, too: Ray looks for other places itself."""
        began_s, asked = time.monotonic(), gang.ready()
        needs = ", ".join(f"{amount:g} {name}" for name, amount in role.bundle.items())
        while not ray.wait([asked], timeout=min(timeout_s, SAY_S))[0]:
            waited_s = time.monotonic() - began_s
            text = f"room for {role.replicas} learner ranks together, {needs} each, since {waited_s:.0f} s"
            if waited_s >= timeout_s:
                raise StageFailed(f"learner: waited for {text}", role="driver")
            self._say(f"waiting for {text}")
