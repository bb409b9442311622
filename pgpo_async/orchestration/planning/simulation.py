"""A run in virtual time: the real replay queue and the real admission, between stages that only wait.

Owns the turning of the clock and the figures of a simulated run. The planner predicts with it; its tests
check over random schedules that lag is bounded, slots do not leak and no run stands still. Not simulated:
quarantined prompts, evaluation, checkpoints, the seconds that messages and the loading of scorers take, and
engines that work on more or fewer prompts than `generator.prompts_in_flight` as their cache allows.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pgpo_async.actors.replay_queue import ReplayQueue
from pgpo_async.config.schema import RunConfig
from pgpo_async.config.training import FilterConfig
from pgpo_async.contracts import Prompt, StageFailed
from pgpo_async.orchestration.admission import Admission
from pgpo_async.orchestration.planning.simulated_generator import SimulatedGenerator
from pgpo_async.orchestration.planning.simulated_stages import (
    Shop,
    SimulatedLearner,
    SimulatedPublisher,
    SimulatedScorer,
)
from pgpo_async.orchestration.planning.simulation_result import SimulationResult
from pgpo_async.orchestration.planning.virtual_time import Timeline, WorkTime
from pgpo_async.orchestration.service_times import ServiceTimes

MakePipe = Callable[[RunConfig, Callable[[], float]], tuple[ReplayQueue, Admission]]
Watch = Callable[[ReplayQueue, Admission], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Death:
    """At `at_s` a generator or scorer dies, unless it is dead; one of its name is back after `away_s`."""

    at_s: float
    role: Literal["generator", "scorer"]
    index: int
    away_s: float


class _Endless:
    """A source of as many prompts as are asked for."""

    def prompt(self, index: int) -> Prompt:
        return Prompt(prompt_id=str(index), question="", answer="", index=index)


class _NoStore:
    """Keeps nothing: nobody reads a simulated payload."""

    def put(self, data: bytes, /) -> int:
        return len(data)


def make_pipe(config: RunConfig, clock: Callable[[], float]) -> tuple[ReplayQueue, Admission]:
    """Make the queue and the admission as a run of this config has them, on another clock."""
    admission = Admission(config.max_lag, config.train.groups_per_step, config.order_window)
    queue = ReplayQueue(
        admission=admission,
        source=_Endless(),
        store=_NoStore(),
        max_lag=config.max_lag,
        config=config.queue,
        # What is filtered is drawn from `filtered_share`, whatever the run's own filter looks at.
        group_filter=FilterConfig(),
        scoring=config.uses_scorers,
        in_turns=config.mode == "sync",
        clock=clock,
    )
    return queue, admission


def simulate(
    config: RunConfig,
    times: ServiceTimes,
    *,
    num_steps: int = 100,
    seed: int = 0,
    deaths: Sequence[Death] = (),
    group_bytes: int = 1,
    make: MakePipe = make_pipe,
    watch: Watch = lambda _queue, _admission: None,
) -> SimulationResult:
    """Simulate a run of `num_steps` steps from cold; its first fifth is the warm-up.

    `watch` is called at every moment something has happened. `group_bytes` count against `queue.max_bytes`.
    Raises StageFailed, with what the queue waits for, if the run can go on no more.
    """
    return _Simulation(config, times, num_steps, seed, deaths, group_bytes, make).run(watch)


class _Simulation:
    def __init__(
        self,
        config: RunConfig,
        times: ServiceTimes,
        num_steps: int,
        seed: int,
        deaths: Sequence[Death],
        group_bytes: int,
        make: MakePipe,
    ) -> None:
        if num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {num_steps}")
        self._config, self._num_steps = config, num_steps
        self._line = Timeline()
        self._queue, self._admission = make(config, lambda: self._line.now_s)
        self._shop = Shop(
            line=self._line,
            queue=self._queue,
            admission=self._admission,
            config=config,
            times=times,
            payload=bytes(group_bytes),
        )
        self._work = {stage: WorkTime(self._line) for stage in ("generate", "score", "learn")}
        # A stream of its own for each actor: a change of one stage leaves the times of the others.
        self._generators = [
            SimulatedGenerator(name, self._shop, self._work["generate"], random.Random(f"{seed} {name}"))
            for name in _names("generator", config.generator.replicas)
        ]
        self._scorers = [
            SimulatedScorer(name, self._shop, self._work["score"], random.Random(f"{seed} {name}"))
            for name in _names("scorer", config.scorer.replicas if config.uses_scorers else 0)
        ]
        self._publisher = SimulatedPublisher(self._shop)
        self._learner = SimulatedLearner(
            self._shop, self._work["learn"], random.Random(f"{seed} learner"), self._step_done
        )
        self._plan_deaths(deaths)
        self._warm_at = num_steps // 5
        self._warm_s = 0.0
        self._warm_work = dict.fromkeys(self._work, 0.0)
        self._most_held = 0
        # Far above what a step takes: beyond it groups are generated and dropped in a circle.
        groups = (self._admission.num_slots + config.train.groups_per_step) / (1 - times.filtered_share)
        self._patience = int(100 * (groups + len(deaths) + len(self._generators))) + 1000
        self._events_left = self._patience

    def _plan_deaths(self, deaths: Sequence[Death]) -> None:
        actors: dict[str, Sequence[SimulatedGenerator | SimulatedScorer]] = {
            "generator": self._generators,
            "scorer": self._scorers,
        }
        for death in deaths:
            if not death.index < len(actors[death.role]):
                raise ValueError(
                    f"a death's index must be below the {len(actors[death.role])} {death.role}s, "
                    f"got {death.index}"
                )
            actor = actors[death.role][death.index]
            self._line.after(death.at_s, lambda actor=actor, death=death: self._die(actor, death.away_s))  # type: ignore[misc]

    def _die(self, actor: SimulatedGenerator | SimulatedScorer, away_s: float) -> None:
        if actor.alive:
            actor.die()
            self._line.after(away_s, lambda: actor.come_back(self._publisher.version))

    def _step_done(self, version: int) -> None:
        self._events_left = self._patience
        self._publisher.submit(version)
        if version == self._warm_at:
            self._warm_s = self._line.now_s
            self._warm_work = {stage: work.total_s for stage, work in self._work.items()}

    def run(self, watch: Watch) -> SimulationResult:
        """Turn the clock until the last step."""
        self._go_on()
        while self._learner.version < self._num_steps:
            num_events = self._line.advance()
            self._events_left -= num_events
            if not num_events or self._events_left < 0:
                circle = "nothing can happen any more" if not num_events else "no step ends any more"
                raise StageFailed(
                    f"{circle} after {self._learner.version} of {self._num_steps} steps, at "
                    f"{self._line.now_s:g} s: {self._queue.stats().summary()}",
                    role="simulation",
                )
            self._go_on()
            watch(self._queue, self._admission)
        return self._result()

    def _go_on(self) -> None:
        """Let every stage take what it can now get."""
        going = True
        while going:
            self._load_next()
            going = self._learner.lease()
            going |= sum(scorer.lease() for scorer in self._scorers) > 0
            # One prompt each in turn, as their waiting calls are served.
            while sum(generator.reserve() for generator in self._generators):
                going = True
        held = self._admission.num_slots - self._admission.available
        self._most_held = max(self._most_held, held)

    def _load_next(self) -> None:
        """Let those with the oldest weights load, as many as may at once; the others go on meanwhile."""
        newest, alive = self._publisher.version, [g for g in self._generators if g.alive]
        turns = max(1, math.floor(self._config.weights.update_share * len(alive)))
        turns -= sum(generator.loading for generator in alive)
        old = [g for g in alive if g.version < newest and not g.loading]
        for generator in sorted(old, key=lambda g: g.version)[: max(0, turns)]:
            generator.begin_load(newest)

    def _result(self) -> SimulationResult:
        config, num_steps = self._config, self._num_steps - self._warm_at
        parallelism = {
            "generate": config.generator.replicas * config.generator.prompts_in_flight,
            "score": config.scorer.replicas,
            "learn": 1,
        }
        elapsed_s = self._line.now_s - self._warm_s
        busy = {
            stage: (work.total_s - self._warm_work[stage]) / parallelism[stage] / num_steps
            for stage, work in self._work.items()
        }
        step_s = elapsed_s / num_steps
        return SimulationResult(
            num_steps=self._num_steps,
            virtual_s=self._line.now_s,
            step_s=step_s,
            busy_s=busy,
            learner_wait_fraction=max(0.0, 1 - busy["learn"] / step_s) if step_s else 0.0,
            longest_wait_s=self._learner.longest_wait_s,
            lag_histogram=dict(sorted(self._learner.lags.items())),
            most_groups_held=self._most_held,
            num_cancelled=self._admission.released["cancelled"],
            accounting=self._queue.accounting(),
        )


def _names(role: str, replicas: int) -> Iterator[str]:
    return (f"{role}-{index}" for index in range(replicas))
