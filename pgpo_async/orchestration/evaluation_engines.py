"""Engines and verifiers of an evaluation without a run: started together, stopped together.

The same actors as a run's, placed and made as the config says, without queue, weight store, scorers or
learner. Called by `suite`.
"""

from collections.abc import Sequence
from typing import Any

import ray

from pgpo_async.actors.process_mark import RUN_ID_VARIABLE
from pgpo_async.actors.staging import NodeStaging
from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.actor_calls import await_all
from pgpo_async.orchestration.connect import connect
from pgpo_async.orchestration.control_actors import make_rewards, preparing
from pgpo_async.orchestration.engine_pool import EnginePool
from pgpo_async.orchestration.leftovers import clean_before, clean_up, note_segments
from pgpo_async.orchestration.nodes import wait_for_nodes
from pgpo_async.orchestration.pipe import Pipe
from pgpo_async.orchestration.placement import PlacementPlan, plan_placement
from pgpo_async.orchestration.replicas import Say
from pgpo_async.orchestration.roles import Roles

ROLES = ("generator", "reward")


def evaluation_plan(config: RunConfig) -> PlacementPlan:
    """Return what an evaluation needs of a run's placement."""
    return PlacementPlan(roles=tuple(role for role in plan_placement(config).roles if role.role in ROLES))


class EvaluationEngines:
    """`with` starts and stops them; an `asking.Engines`. `session_id` marks their processes.

    Entering raises ConfigError for resources that do not exist, StageFailed for an engine that cannot start.
    """

    def __init__(self, config: RunConfig, session_id: str, say: Say, roles: Roles | None = None) -> None:
        self._config = config
        self._session_id = session_id
        self._say = say
        self._pipe = Pipe(config, session_id, roles or Roles(), None)
        self._staging: NodeStaging | None = None
        self._pool: EnginePool | None = None

    def __enter__(self) -> "EvaluationEngines":
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def idle(self) -> Sequence[Any]:
        """Return the engines that can be asked; see `EnginePool`."""
        assert self._pool is not None, "enter first"
        return self._pool.idle()

    def replace(self, actor: Any, error: BaseException) -> None:
        """Start another engine in the place of one that died."""
        assert self._pool is not None, "enter first"
        self._pool.replace(actor, error)

    def _start(self) -> None:
        config = self._config
        clean_before()
        self._staging = NodeStaging(self._session_id)
        connect(config, self._session_id)
        wait_for_nodes(evaluation_plan(config), config.ray, self._say)
        self._say(f"starting: {config.generator.replicas} engines, {config.reward.replicas} verifiers")
        self._pipe.rewards = make_rewards(config)
        self._pool = EnginePool(
            "generator", config.generator.replicas, config, self._pipe.generator, self._say
        )
        self._pool.start()
        await_all(preparing(self._pipe.rewards), config.generator.start_timeout_s, "to start")
        self._pool.idle()

    def _stop(self) -> None:
        if self._staging is None:
            return
        segments = note_segments(self._session_id, RUN_ID_VARIABLE)
        if ray.is_initialized():
            if self._pool is not None:
                self._pool.close()
            ray.shutdown()
        self._staging.close()
        clean_up(self._session_id, RUN_ID_VARIABLE, segments=segments)
