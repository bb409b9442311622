"""Scorers, learner and publisher of a simulated run: what they ask of the queue, and when.

As `actors.scorer`, `run_loop` and `learner.publisher` do it in real time; the queue that they ask is the
real one. Generators are in `simulated_generator`; `simulation` makes all of them.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from pgpo_async.actors.queue_types import Lease
from pgpo_async.actors.replay_queue import ReplayQueue
from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.admission import Admission
from pgpo_async.orchestration.planning.virtual_time import Event, Timeline, WorkTime
from pgpo_async.orchestration.service_times import ServiceTimes, draw_s

HOLDER = "learner"


@dataclass(kw_only=True, slots=True)
class Shop:
    """What all stages of one simulated run work with. `payload` stands for any group's bytes.

    `num_ready` counts the groups that have become ready for the learner, whatever became of them since.
    """

    line: Timeline
    queue: ReplayQueue
    admission: Admission
    config: RunConfig
    times: ServiceTimes
    payload: bytes
    num_ready: int = 0


class SimulatedScorer:
    """Scores a lease at a time."""

    def __init__(self, name: str, shop: Shop, work: WorkTime, rng: random.Random) -> None:
        self.name = name
        self.alive = True
        self._shop = shop
        self._work = work
        self._rng = rng
        self._scoring: Event | None = None

    def lease(self) -> bool:
        """Begin to score what is generated; whether there was something."""
        shop = self._shop
        if not self.alive or self._scoring is not None:
            return False
        leases = shop.queue.lease_for_scoring(self.name, shop.config.scorer.groups_per_lease)
        if not leases:
            return False
        share = len(leases) / shop.config.train.groups_per_step
        seconds = draw_s(shop.times.score_s * share, shop.times.score_sigma, self._rng)
        self._work.change(+1)
        self._scoring = shop.line.after(seconds, partial(self._finish, leases))
        return True

    def _finish(self, leases: list[Lease]) -> None:
        self._work.change(-1)
        self._scoring = None
        for lease in leases:
            how = self._shop.queue.commit_scores(lease.group_id, self.name, self._shop.payload)
            self._shop.num_ready += how == "queued"

    def die(self) -> None:
        """Lose the lease; the queue is told at once."""
        self.alive = False
        if self._scoring is not None:
            self._work.change(-1)
            self._scoring.cancel()
            self._scoring = None
        self._shop.queue.release_holder(self.name)

    def come_back(self, _version: int) -> None:
        """Be there again."""
        self.alive = True


class SimulatedPublisher:
    """Sends one version at a time; the newest waits, one waiting before it is dropped."""

    def __init__(self, shop: Shop) -> None:
        self.version = 0
        self._shop = shop
        self._sending = False
        self._waiting: int | None = None

    def submit(self, version: int) -> None:
        """Send a version as soon as the one before is sent."""
        self._waiting = version
        self._next()

    def _next(self) -> None:
        if self._waiting is None or self._sending:
            return
        version, self._waiting, self._sending = self._waiting, None, True
        self._shop.line.after(self._shop.times.publish_s, partial(self._sent, version))

    def _sent(self, version: int) -> None:
        self.version, self._sending = version, False
        self._next()


class SimulatedLearner:
    """Trains one batch after another. `lags` counts the trained groups by what their headers say."""

    def __init__(
        self, shop: Shop, work: WorkTime, rng: random.Random, step_done: Callable[[int], None]
    ) -> None:
        self.version = 0
        self.lags: Counter[int] = Counter()
        self.longest_wait_s = 0.0
        self._shop = shop
        self._work = work
        self._rng = rng
        self._step_done = step_done
        self._learning = False
        self._num_gone = 0  # of those that were ready: trained, or found to be stale
        self._refused_at: tuple[int, int] | None = None
        self._idle_since_s = 0.0

    def lease(self) -> bool:
        """Begin a step if there is a batch; whether there was."""
        shop, num_groups = self._shop, self._shop.config.train.groups_per_step
        if self._learning or self._is_refused():
            return False
        leases = shop.queue.lease_batch(HOLDER, self.version, num_groups)
        if leases is None:
            self._refused_at = self._state()
            if shop.config.order_window is None:  # then it had fewer than a batch, and nothing else to mind
                self._num_gone = max(self._num_gone, shop.num_ready - num_groups + 1)
            return False
        self._learning, self._refused_at = True, None
        self.longest_wait_s = max(self.longest_wait_s, shop.line.now_s - self._idle_since_s)
        self._work.change(+1)
        seconds = draw_s(shop.times.learn_s, shop.times.learn_sigma, self._rng)
        shop.line.after(seconds, partial(self._finish, leases))
        return True

    def _is_refused(self) -> bool:
        """Whether the queue, which sorts for its answer, is known to say no: it has, and nothing is new."""
        too_few = self._shop.num_ready - self._num_gone < self._shop.config.train.groups_per_step
        return self._refused_at is not None and (too_few or self._refused_at == self._state())

    def _state(self) -> tuple[int, int]:
        return self._shop.num_ready, sum(self._shop.admission.released.values())

    def _finish(self, leases: list[Lease]) -> None:
        self._work.change(-1)
        self._learning = False
        self._num_gone += len(leases)
        self._idle_since_s = self._shop.line.now_s
        # Counted from the headers, not asked of the queue: its own count is what is to be checked.
        self.lags.update(self.version - lease.header.oldest_version for lease in leases)
        self._shop.queue.ack([lease.group_id for lease in leases], HOLDER)
        self.version += 1
        self._shop.queue.set_version(self.version)
        self._step_done(self.version)
