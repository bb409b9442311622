"""What the actors of one run are made of: its config, queue, store and rewards, which each one is given.

Whoever replaces a dead actor makes it here, so that it joins the run that goes on. Called by `cluster`.
"""

from pathlib import Path
from typing import Any

import ray

from pgpo_async.actors.store_client import StorePublish
from pgpo_async.config.schema import RunConfig
from pgpo_async.data.sources import train_source
from pgpo_async.learner.group import ACTOR_OPTIONS
from pgpo_async.orchestration.actor_calls import place
from pgpo_async.orchestration.control_actors import make_queue, make_rewards, make_store
from pgpo_async.orchestration.roles import Roles


class Pipe:
    """`prepare`, then `open` once Ray is there. Without a `journal` the queue's death ends the run."""

    def __init__(self, config: RunConfig, run_id: str, roles: Roles, journal: Path | None) -> None:
        self.config = config
        self.run_id = run_id
        self.roles = roles
        self._journal = journal
        self._source: Any = None
        self.queue: Any = None
        self.store: Any = None
        self.rewards: list[Any] = []

    def prepare(self) -> None:
        """Find the prompts. Raises ConfigError."""
        self._source = train_source(self.config)

    def open(self, rewards: list[Any] | None = None) -> None:
        """Start queue, store and rewards, or take the `rewards` of the run before."""
        self.queue = make_queue(self.config, self.run_id, self._source, self._journal)
        self.store = make_store(self.config, self.run_id)
        self.rewards = make_rewards(self.config) if rewards is None else rewards

    def close(self) -> None:
        """End queue and store."""
        for actor in (self.queue, self.store):
            ray.kill(actor, no_restart=True)

    @property
    def ends(self) -> dict[str, Any]:
        """What generators and scorers work between."""
        return {"queue": self.queue, "store": self.store}

    def generator(self, name: str) -> Any:
        """Make a generator."""
        actor = place(self.roles.generator, self.config.generator, name, 1000)
        return actor.remote(name, self.config, self.run_id, **self.ends, rewards=self.rewards)

    def scorer(self, name: str) -> Any:
        """Make a scorer."""
        actor = place(self.roles.scorer, self.config.scorer, name, 4)
        return actor.remote(name, self.config, self.run_id, **self.ends)

    def rank(self, rank: int, world_size: int, name: str, **options: Any) -> Any:
        """Make a rank of the learner."""
        most = ACTOR_OPTIONS["max_concurrency"]
        actor = place(self.roles.learner, self.config.learner, name, most, **options)
        return actor.remote(self.config, rank, world_size, self.publish(rank))

    def publish(self, rank: int) -> StorePublish | None:
        """Return the way to the store that a rank publishes by, if it does."""
        return StorePublish(self.store, self.config.weights.load_timeout_s) if rank == 0 else None
