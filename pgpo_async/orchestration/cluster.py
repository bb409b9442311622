"""All actors of one run: started together, watched together, stopped together.

Starts Ray or joins it, checks the placement plan against what is there, makes every actor with the
resources its role asks for, and leaves nothing behind. Another run that asks for the same processes can go on
with them (`renew`): starting engines takes longer than a small run. Knows no training loop (`run_loop`) and
no files.
"""

import os
from collections.abc import Callable
from typing import Any

import ray

from pgpo_async.actors.generator import Generator
from pgpo_async.actors.queue_actor import QueueActor
from pgpo_async.actors.reward import RewardWorker
from pgpo_async.actors.scorer import Scorer
from pgpo_async.actors.staging import NodeStaging
from pgpo_async.actors.store_actor import StoreActor
from pgpo_async.actors.store_client import StorePublish
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import StageFailed
from pgpo_async.contracts.errors import plain
from pgpo_async.data.sources import open_source
from pgpo_async.learner.group import ACTOR_OPTIONS, LearnerGroup, start_group
from pgpo_async.learner.worker import LearnerWorker
from pgpo_async.orchestration.actor_calls import await_all, place
from pgpo_async.orchestration.admission import Admission
from pgpo_async.orchestration.leftovers import clean_before, clean_up, note_segments
from pgpo_async.orchestration.placement import CONTROL_CPUS, local_cpus, plan_placement

RUN_ID_VARIABLE = "PGPO_ASYNC_RUN_ID"
CALL_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0


class Cluster:
    """The actors of one run. `start` or nothing: a failed start stops what had begun."""

    def __init__(self, config: RunConfig, run_id: str) -> None:
        self.config = config
        self.run_id = run_id
        self.generators: list[Any] = []
        self.scorers: list[Any] = []
        # All there are; a run that needs none leaves them idle.
        self._scorer_pool: list[Any] = []
        self.rewards: list[Any] = []
        self.queue: Any = None
        self.store: Any = None
        self.learner: LearnerGroup | None = None
        self._loops: dict[Any, str] = {}
        # Of the first run: what all processes carry in their environment.
        self._session_id = run_id
        # Held by the driver too, so that the folder is nobody's only when the whole run is dead.
        self._staging: NodeStaging | None = None

    def start(self, say: Callable[[str], None], connected: Callable[[], None] = lambda: None) -> None:
        """Bring every actor up; `connected` is called as soon as Ray is there.

        Raises ConfigError for resources that do not exist, StageFailed for an actor that cannot start.
        """
        config = self.config
        source = open_source(config.data.source, split="train", seed=config.data.seed)
        clean_before()
        self._staging = NodeStaging(self._session_id)
        self._connect()
        connected()
        plan_placement(config).check(ray.cluster_resources())
        scorers = "scorers, " if config.uses_scorers else ""
        say(f"starting: replay queue, weight store, rewards, {scorers}learner, generators")
        self._make_control(source)
        self._make_workers()
        self._wait_until_ready()

    def can_renew(self, config: RunConfig) -> bool:
        """Whether these processes are up, and are what this config asks for."""
        return self.learner is not None and _processes(config) == _processes(self.config)

    def renew(self, config: RunConfig, run_id: str, say: Callable[[str], None]) -> None:
        """Begin another run on these processes, whose loops have stopped; `can_renew` must say yes.

        All models are the config's own again. Raises as `start`.
        """
        assert self.learner is not None
        say("starting: a new replay queue and weight store, the actors of the run before")
        source = open_source(config.data.source, split="train", seed=config.data.seed)
        for actor in (self.queue, self.store):
            ray.kill(actor, no_restart=True)
        before, self.config, self.run_id = self.run_id, config, run_id
        self._make_control(source)
        pipes = {"queue": self.queue, "store": self.store}
        workers = [*self.generators, *(self._scorer_pool if config.uses_scorers else ())]
        pending = {a.renew.remote(config, run_id, **pipes): f"worker {i}" for i, a in enumerate(workers)}
        if config.uses_scorers and not self._scorer_pool:
            self._scorer_pool = self._make_scorers()
            pending |= {actor.start.remote(): f"scorer-{i}" for i, actor in enumerate(self._scorer_pool)}
        self.scorers = self._scorer_pool if config.uses_scorers else []
        self.learner.renew(config, self._publish(rank=0))
        await_all(pending, config.generator.start_timeout_s, "to start again")
        self.learner.publish(version=0)
        self.learner.flush(config.weights.load_timeout_s)
        loading = {a.load_version.remote(0): f"generator-{i}" for i, a in enumerate(self.generators)}
        await_all(loading, config.weights.load_timeout_s, "to load the first weights")
        if before != self._session_id:
            NodeStaging(before).remove()

    def _connect(self) -> None:
        config = self.config.ray
        os.environ[RUN_ID_VARIABLE] = self._session_id
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        shared: dict[str, Any] = {
            "log_to_driver": False,
            "logging_level": "ERROR",
            "namespace": self._session_id,
            "runtime_env": {
                "env_vars": {RUN_ID_VARIABLE: self._session_id, "TOKENIZERS_PARALLELISM": "false"}
            },
        }
        if config.address is not None:
            ray.init(address=config.address, **shared)
            return
        ray.init(
            num_cpus=local_cpus(self.config, os.cpu_count() or 1),
            object_store_memory=config.object_store_bytes,
            include_dashboard=False,
            **shared,
        )

    def _make_control(self, source: Any) -> None:
        config = self.config
        admission = Admission(config.max_lag, config.train.groups_per_step, config.order_window)
        control = {"num_cpus": CONTROL_CPUS, "max_concurrency": 1000, "max_restarts": 0}
        self.queue = (
            ray.remote(QueueActor)
            .options(name=f"{self.run_id} queue", **control)
            .remote(config, admission, source)
        )
        self.store = (
            ray.remote(StoreActor).options(name=f"{self.run_id} store", **control).remote(config.weights)
        )

    def _make_workers(self) -> None:
        config, run_id = self.config, self.run_id
        pipes = {"queue": self.queue, "store": self.store}
        self.rewards = [
            place(RewardWorker, config.reward, f"reward-{i}", 8).remote(config.reward)
            for i in range(config.reward.replicas)
        ]
        if config.uses_scorers:
            self._scorer_pool = self._make_scorers()
            self.scorers = self._scorer_pool
        self.generators = [
            place(Generator, config.generator, f"generator-{i}", 1000).remote(
                f"generator-{i}", config, run_id, rewards=self.rewards, **pipes
            )
            for i in range(config.generator.replicas)
        ]

    def _make_scorers(self) -> list[Any]:
        config, pipes = self.config, {"queue": self.queue, "store": self.store}
        return [
            place(Scorer, config.scorer, f"scorer-{i}", 4).remote(f"scorer-{i}", config, self.run_id, **pipes)
            for i in range(config.scorer.replicas)
        ]

    def _wait_until_ready(self) -> None:
        timeout_s = self.config.generator.start_timeout_s
        pending = {actor.prepare.remote(): f"reward-{i}" for i, actor in enumerate(self.rewards)}
        pending |= {actor.start.remote(): f"scorer-{i}" for i, actor in enumerate(self.scorers)}
        pending |= {actor.start.remote(): f"generator-{i}" for i, actor in enumerate(self.generators)}
        self.learner = start_group(self.config, self._make_rank)
        await_all(pending, timeout_s, "to start")
        note_segments(self._session_id, RUN_ID_VARIABLE)

    def _make_rank(self, rank: int, world_size: int) -> Any:
        config = self.config
        actor = place(LearnerWorker, config.learner, f"learner-{rank}", ACTOR_OPTIONS["max_concurrency"])
        return actor.remote(config, rank, world_size, self._publish(rank))

    def _publish(self, rank: int) -> StorePublish | None:
        return StorePublish(self.store, self.config.weights.load_timeout_s) if rank == 0 else None

    def start_loops(self) -> None:
        """Let generators and scorers run until `stop`."""
        self._loops = {actor.run.remote(): f"generator-{i}" for i, actor in enumerate(self.generators)}
        self._loops |= {actor.run.remote(): f"scorer-{i}" for i, actor in enumerate(self.scorers)}

    def wait(self, call: Any, timeout_s: float) -> tuple[bool, Any]:
        """Wait for one call, ending early with StageFailed if a running actor fails; (done, result)."""
        ready, _ = ray.wait([call, *self._loops], num_returns=1, timeout=timeout_s)
        if any(ref is not call for ref in ready):
            self._raise_failure(next(ref for ref in ready if ref is not call))
        return (True, ray.get(call)) if ready else (False, None)

    def _raise_failure(self, loop: Any) -> None:
        name = self._loops[loop]
        try:
            ray.get(loop)
        except Exception as error:
            raise StageFailed(f"{name} failed: {plain(error)}", role=name.split("-")[0]) from error
        raise StageFailed(f"{name} ended by itself", role=name.split("-")[0])

    def statuses(self) -> list[dict[str, Any]]:
        """Ask every generator and scorer what it does."""
        calls = [actor.status.remote() for actor in (*self.generators, *self.scorers)]
        return list(ray.get(calls, timeout=CALL_TIMEOUT_S))

    def stop_loops(self) -> None:
        """Ask generators and scorers to end, and wait for them a while."""
        calls = [actor.stop.remote() for actor in (*self.generators, *self.scorers)]
        ray.wait(calls, num_returns=len(calls), timeout=STOP_TIMEOUT_S)
        if self._loops:
            ray.wait(list(self._loops), num_returns=len(self._loops), timeout=STOP_TIMEOUT_S)
        self._loops = {}

    def stop(self, *, at_once: bool = False) -> list[str]:
        """Stop everything; return a line for each thing that had to be removed by force."""
        if self._staging is None:
            return []
        segments = note_segments(self._session_id, RUN_ID_VARIABLE)
        if ray.is_initialized():
            if not at_once:
                self._close_actors()
            ray.shutdown()
        self._staging.close()
        left_behind = clean_up(self._session_id, RUN_ID_VARIABLE, segments=segments)
        if self.run_id != self._session_id:
            NodeStaging(self.run_id).remove()
        return left_behind

    def _close_actors(self) -> None:
        closing = [a.close.remote() for a in (*self.generators, *self._scorer_pool, *self.rewards)]
        if self.learner is not None:
            self.learner.shutdown()
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=STOP_TIMEOUT_S)


def _processes(config: RunConfig) -> Any:
    """What of a config decides how its processes are made, and what they keep from run to run."""
    learner = config.learner.model_dump(include={"replicas", "cpus", "gpus", "num_threads"})
    data = config.data.model_dump(include={"system_prompt", "instruction", "max_prompt_tokens"})
    sections = (config.model, config.generation, config.generator, config.scorer, config.reward, config.ray)
    return learner, data, [section.model_dump() for section in sections]
