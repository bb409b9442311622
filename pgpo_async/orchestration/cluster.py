"""All actors of one run: started together, watched together, stopped together.

Starts Ray or joins it, checks the placement plan against what is there, makes every actor with the
resources its role asks for, and leaves nothing behind. Another run that asks for the same processes can go on
with them (`renew`): starting engines takes longer than a small run. Knows no training loop (`run_loop`) and
no files.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

from pgpo_async.actors.process_mark import RUN_ID_VARIABLE
from pgpo_async.actors.staging import NodeStaging
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError, StageFailed
from pgpo_async.learner.group import LearnerGroup
from pgpo_async.orchestration.actor_calls import await_all
from pgpo_async.orchestration.connect import connect
from pgpo_async.orchestration.control_actors import preparing
from pgpo_async.orchestration.learner_life import LearnerLife
from pgpo_async.orchestration.leftovers import clean_before, clean_up, note_segments
from pgpo_async.orchestration.nodes import wait_for_nodes
from pgpo_async.orchestration.pipe import Pipe
from pgpo_async.orchestration.placement import check_room, plan_placement
from pgpo_async.orchestration.replicas import Replicas
from pgpo_async.orchestration.roles import Roles, processes
from pgpo_async.orchestration.supervisor import Supervisor

CALL_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 60.0
FAILURE_POLL_S = 0.5
START_POLL_S = 0.1


class Cluster:
    """The actors of one run. `start` or nothing: a failed start stops what had begun."""

    def __init__(
        self, config: RunConfig, run_id: str, roles: Roles | None = None, *, journal: Path | None = None
    ) -> None:
        self.config = config
        self.run_id = run_id
        self._pipe = Pipe(config, run_id, roles or Roles(), journal)
        self._say: Callable[[str], None] = lambda _text: None
        self._generators: Replicas | None = None
        # A run that needs no scorers leaves those that are there idle.
        self._scorers: Replicas | None = None
        self._learner = LearnerLife(
            lambda *rank, **how: self._pipe.rank(*rank, **how), lambda t: self._say(t)
        )
        self.supervisor = Supervisor(self, config.supervision, lambda text: self._say(text))
        # Of the first run: what all processes carry in their environment.
        self._session_id = run_id
        # Held by the driver too, so that the folder is nobody's only when the whole run is dead.
        self._staging: NodeStaging | None = None

    def start(self, say: Callable[[str], None], connected: Callable[[], None] = lambda: None) -> None:
        """Bring every actor up; `connected` is called as soon as Ray is there.

        Raises ConfigError for resources that do not exist, StageFailed for an actor that cannot start.
        """
        config, self._say = self.config, say
        self._pipe.prepare()
        clean_before()
        self._staging = NodeStaging(self._session_id)
        connect(config, self._session_id)
        connected()
        wait_for_nodes(plan_placement(config), config.ray, say)
        scorers = "scorers, " if config.uses_scorers else ""
        say(f"starting: replay queue, weight store, rewards, {scorers}learner, generators")
        self._pipe.open()
        if config.uses_scorers:
            self._scorers = self._replicas("scorer")
        self._generators = self._replicas("generator")
        self._wait_until_ready()

    def can_renew(self, config: RunConfig) -> bool:
        """Whether these processes are up, and are what this config asks for."""
        return self.learner is not None and processes(config) == processes(self.config)

    def renew(
        self,
        config: RunConfig,
        run_id: str,
        say: Callable[[str], None],
        *,
        journal: Path | None = None,
    ) -> None:
        """Begin another run on these processes, whose loops have stopped; `can_renew` must say yes.

        All models are the config's own again. Raises as `start`.
        """
        assert self.learner is not None
        self.supervisor.stop()
        say("starting: a new replay queue and weight store, the actors of the run before")
        pipe = Pipe(config, run_id, self._pipe.roles, journal)
        pipe.prepare()
        self._pipe.close()
        pipe.open(self._pipe.rewards)
        before, self.config, self.run_id, self._say = self.run_id, config, run_id, say
        self._pipe, ends = pipe, pipe.ends
        pending: dict[Any, str] = {}
        for replicas in self.working():
            pending |= replicas.named(lambda actor: actor.renew.remote(config, run_id, **ends))
        if config.uses_scorers and self._scorers is None:
            self._scorers = self._replicas("scorer")
            pending |= self._scorers.named(lambda actor: actor.start.remote())
        self.learner.renew(config, self._pipe.publish(rank=0))
        await_all(pending, config.generator.start_timeout_s, "to start again")
        self.learner.publish(version=0)
        self.learner.flush(config.weights.load_timeout_s)
        assert self._generators is not None
        loading = self._generators.named(lambda actor: actor.load_version.remote(0))
        await_all(loading, config.weights.load_timeout_s, "to load the first weights")
        self.supervisor.start()
        if before != self._session_id:
            NodeStaging(before).remove()

    def _replicas(self, role: str) -> Replicas:
        return Replicas(
            role,
            getattr(self.config, role),
            self.config.supervision,
            lambda name: getattr(self._pipe, role)(name),
            forget=self._forget,
            start_timeout_s=self.config.generator.start_timeout_s,
        )

    def working(self) -> list[Replicas]:
        """The roles whose loops this run needs."""
        scorers = self._scorers if self.config.uses_scorers else None
        return [replicas for replicas in (self._generators, scorers) if replicas is not None]

    @property
    def queue(self) -> Any:
        """The replay queue's actor."""
        return self._pipe.queue

    @property
    def store(self) -> Any:
        """The weight store's actor."""
        return self._pipe.store

    @property
    def rewards(self) -> list[Any]:
        """The verifiers."""
        return self._pipe.rewards

    def evaluator(self, name: str) -> Any:
        """Make an engine that only answers: a generator whose loop is never run."""
        return self._pipe.generator(name)

    @property
    def generators(self) -> list[Any]:
        """The generator actors."""
        return self._generators.actors if self._generators is not None else []

    def idle_generators(self) -> list[Any]:
        """Generators that can be asked while no loop runs; waits while all are being replaced.

        Raises what the supervisor ends the run with.
        """
        assert self._generators is not None, "start must come first"
        while not (idle := list(self._generators.idle.values())):
            self.supervisor.raise_failure()
            time.sleep(START_POLL_S)
        return idle

    def replace_generator(self, actor: Any, error: BaseException) -> None:
        """Start another in the place of one that died while no loop ran. Raises StageFailed."""
        assert self._generators is not None, "start must come first"
        self._generators.found_dead(actor, error, self._say)

    @property
    def scorers(self) -> list[Any]:
        """The scorer actors of this run."""
        return self._scorers.actors if self._scorers is not None and self.config.uses_scorers else []

    def _wait_until_ready(self) -> None:
        timeout_s = self.config.generator.start_timeout_s
        rewards = preparing(self.rewards)
        for replicas in self.working():
            replicas.start()
        # From here on: who dies or hangs while all start is seen to as later.
        self.supervisor.start()
        self._learner.start(self.config)
        try:
            while not all(replicas.ready for replicas in self.working()):
                self.supervisor.raise_failure()
                time.sleep(START_POLL_S)
        except StageFailed as error:
            raise error.__cause__ if isinstance(error.__cause__, ConfigError) else error from None
        await_all(rewards, timeout_s, "to start")
        note_segments(self._session_id, RUN_ID_VARIABLE)

    @property
    def learner(self) -> LearnerGroup | None:
        """The learner, if it is up."""
        return self._learner.group

    @property
    def the_learner(self) -> LearnerGroup:
        """The learner that is up."""
        assert self.learner is not None, "start must come first"
        return self.learner

    def restart_learner(self, error: StageFailed) -> None:
        """Start all ranks again, in place of those that failed; they hold the model the run began with.

        Raises `error` where they were started too often already, StageFailed if they cannot start.
        """
        self._learner.restart(self.config, error)

    def ranks(self) -> dict[str, Any]:
        """Return the learner's ranks by name; none while they start."""
        return self.learner.ranks() if self.learner is not None else {}

    def start_loops(self) -> None:
        """Let generators and scorers run until `stop`, watched."""
        self.supervisor.stop()
        for replicas in self.working():
            replicas.run()
        self.supervisor.start()

    def wait(self, call: Any, timeout_s: float) -> tuple[bool, Any]:
        """Wait for one call; (done, result). Raises what the supervisor ends the run with, and the call's
        error.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            self.supervisor.raise_failure()
            left_s = max(0.0, deadline - time.monotonic())
            if ray.wait([call], timeout=min(left_s, FAILURE_POLL_S))[0]:
                return True, ray.get(call)
            if left_s <= FAILURE_POLL_S:
                return False, None

    def _forget(self, name: str) -> None:
        """Have what a dead actor held given back: its leases and slots, its turn to load weights.

        Not waited for: who is to do so may be hung itself, and is found out by the thread that calls this.
        """
        self.queue.release_holder.remote(name)
        self.store.forget.remote(name)

    def wanted(self) -> dict[str, int]:
        """How many actors each role should have."""
        loops = {replicas.role: replicas.count for replicas in self.working()}
        config = self.config
        roles = {"learner": config.learner.replicas, "reward": config.reward.replicas, "queue": 1, "store": 1}
        return loops | roles

    def restarts(self) -> dict[str, int]:
        """Processes replaced so far, by role; `control` are queue and store."""
        loops = {replicas.role: replicas.num_restarts for replicas in self.working()}
        return {
            **loops,
            "learner": self._learner.num_restarts,
            "control": self.supervisor.num_control_restarts,
        }

    def resize(self, role: str, count: int) -> str:
        """Have another number of generators or scorers; says from how many to how many.

        Raises ConfigError for a role that has none in this run, or more than this machine's Ray has room for.
        """
        found = {"generator": self._generators, "scorer": self._scorers}.get(role)
        if found is None or found not in self.working():
            raise ConfigError(f"this run has no {role}s, so their number cannot change")
        before = found.count
        if self.config.ray.address is None:
            more = check_room(getattr(self.config, role), count - before, ray.available_resources())
            if more is not None:
                raise ConfigError(f"{role}={count}: {more}")
        found.resize(count)
        said = f"{role}s: {before} -> {count}"
        self._say(said)
        return said

    def stop_loops(self) -> None:
        """Ask generators and scorers to end, and wait for them a while. All stay watched."""
        self.supervisor.stop()
        ending = [call for replicas in self.working() for call in replicas.stop()]
        if ending:
            ray.wait(ending, num_returns=len(ending), timeout=STOP_TIMEOUT_S)
        self.supervisor.start()

    def stop(self, *, at_once: bool = False) -> list[str]:
        """Stop everything; return a line for each thing that had to be removed by force."""
        if self._staging is None:
            return []
        self.supervisor.stop()
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
        pools = [replicas.actors for replicas in (self._generators, self._scorers) if replicas is not None]
        closing = [actor.close.remote() for pool in (*pools, self.rewards) for actor in pool]
        if self.learner is not None:
            self.learner.shutdown()
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=STOP_TIMEOUT_S)
