"""The actors that Ray itself restarts in place: replay queue, weight store, rewards.

Their handles stay good when their processes die, and calls under way are made again, which all of them allow
for. Owns where they are placed and how often they may come back. Called by `cluster`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ray

from pgpo_async.actors.queue_actor import QueueActor
from pgpo_async.actors.reward import RewardWorker
from pgpo_async.actors.store_actor import StoreActor
from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.actor_calls import place
from pgpo_async.orchestration.admission import Admission
from pgpo_async.orchestration.placement import CONTROL_CPUS

MAX_CONCURRENCY = 1000
"""Of queue and store: each waiting call is one."""


def make_queue(config: RunConfig, run_id: str, source: Any, journal: Path | None) -> Any:
    """Start the replay queue. One without a journal is not restarted: it would begin at the first prompt."""
    restarts = _restarts(config) if journal is not None and config.queue.journal.enabled else {}
    admission = Admission(config.max_lag, config.train.groups_per_step, config.order_window)
    actor = ray.remote(QueueActor).options(name=f"{run_id} queue", **_beside_the_driver(), **restarts)
    return actor.remote(config, admission, source, journal=journal)


def make_store(config: RunConfig, run_id: str) -> Any:
    """Start the weight store."""
    actor = ray.remote(StoreActor).options(
        name=f"{run_id} store", **_beside_the_driver(), **_restarts(config)
    )
    return actor.remote(config.weights)


def make_rewards(config: RunConfig) -> list[Any]:
    """Start the verifiers. One has no memory, so it is asked again however often it died."""
    again = {"max_restarts": -1, "max_task_retries": 2}
    return [
        place(RewardWorker, config.reward, f"reward-{i}", 8, signs=True, **again).remote(config.reward)
        for i in range(config.reward.replicas)
    ]


def preparing(rewards: Sequence[Any]) -> dict[Any, str]:
    """Let verifiers load what they need: the calls to wait for, by name. Made again where one died."""
    again = {"max_task_retries": -1}
    return {r.prepare.options(**again).remote(): f"reward-{i}" for i, r in enumerate(rewards)}


def _restarts(config: RunConfig) -> dict[str, int]:
    return {"max_restarts": config.supervision.control_restarts, "max_task_retries": -1}


def _beside_the_driver() -> dict[str, Any]:
    """They are as long-lived as it is, other nodes may come and go.

    By the label that each of Ray's nodes has: an affinity is not kept where nodes have just come.
    """
    here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
    return {"num_cpus": CONTROL_CPUS, "max_concurrency": MAX_CONCURRENCY, "label_selector": here}
