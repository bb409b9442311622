"""Watches every actor of a run from a thread of its own, so that nobody's death waits for a training step.

Owns the pings and what follows from their silence. Generators and scorers are replaced singly
(`replicas`). The replay queue and the weight store are restarted by Ray in place, so that all handles stay
good: a hung one is killed here. A hung learner rank is killed too; the run loop then starts all ranks again.
What ends the run is kept in `failure`, for whoever waits.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import ray
from ray._private import state

from pgpo_async.config.pipeline import SupervisionConfig
from pgpo_async.contracts import PgpoError, StageFailed
from pgpo_async.contracts.errors import plain
from pgpo_async.orchestration.actor_calls import SIGNS
from pgpo_async.orchestration.beats import Beat
from pgpo_async.orchestration.nodes import draining_nodes, node_of
from pgpo_async.orchestration.replicas import Replicas, Say

RESTART_TIMEOUT_S = 300.0
"""Longest a control actor that was killed may take to answer again."""


class Watched(Protocol):
    """What is watched; asked each time, since actors come and go."""

    @property
    def queue(self) -> Any:
        """The replay queue."""
        ...

    @property
    def store(self) -> Any:
        """The weight store."""
        ...

    @property
    def rewards(self) -> list[Any]:
        """The verifiers."""
        ...

    def working(self) -> list[Replicas]:
        """Return the roles whose loops run."""
        ...

    def ranks(self) -> dict[str, Any]:
        """Return the learner's ranks, by name, that may be asked for their status."""
        ...


@dataclass(slots=True)
class _Ping:
    call: Any
    sent_s: float
    limit_s: float


class Supervisor:
    """`start` when actors start, `stop` before they are ended. `say` is called from its thread."""

    def __init__(self, watched: Watched, config: SupervisionConfig, say: Say) -> None:
        self._watched = watched
        self._config = config
        self._say = say
        self._pings: dict[Any, _Ping] = {}
        self._pids: dict[str, int] = {}
        self._unavailable_s: dict[str, float] = {}
        self._killed_s: dict[str, float] = {}
        self._known: set[Any] = set()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.failure: PgpoError | None = None
        self.num_control_restarts = 0
        # Done at every look, in this thread: requests from outside.
        self.beside: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin to watch."""
        self._stopping.clear()
        self._pings, self._pids, self._unavailable_s, self.failure = {}, {}, {}, None
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Watch no more; returns when the thread has ended."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def raise_failure(self) -> None:
        """Raise what ends the run, if there is anything."""
        if self.failure is not None:
            raise self.failure

    def _watch(self) -> None:
        checked_s = 0.0
        try:
            while not self._stopping.is_set():
                self._wait()
                for replicas in self._watched.working():
                    replicas.attend(self._say)
                if time.monotonic() - checked_s >= self._config.check_every_s:
                    checked_s = time.monotonic()
                    self._check()
                    self.beside()
        except PgpoError as error:
            self.failure = error
        except Exception as error:
            self.failure = StageFailed(f"supervision failed: {error!r}", role="driver")
            self.failure.__cause__ = error

    def _wait(self) -> None:
        calls = [call for replicas in self._watched.working() for call in replicas.calls]
        wait_s = min(1.0, self._config.check_every_s)
        if calls:
            ray.wait(calls, num_returns=1, timeout=wait_s)
        else:
            self._stopping.wait(wait_s)

    def _check(self) -> None:
        watched = self._watched
        # Not made again by Ray: one that starts again says so at once, however long it reads its journal.
        once = {"max_task_retries": 0}
        beats_of = lambda queue: queue.beats.options(**once).remote()  # noqa: E731
        for beats in self._ping("queue", watched.queue, beats_of, self._restart):
            self._noted("queue", beats["pid"])
            signs = {name: Beat(*beat) for name, beat in beats["beats"].items()}
            for replicas in watched.working():
                replicas.check(signs, beats["listened_s"], self._say)
        pid_of = lambda store: store.pid.options(**once).remote()  # noqa: E731
        for pid in self._ping("store", watched.store, pid_of, self._restart):
            self._noted("store", pid)
        for replicas in watched.working():
            for name, actor in replicas.idle.items():
                self._known.add(actor)
                list(self._ping(name, actor, lambda actor: actor.status.remote(), self._kill))
        for name, rank in watched.ranks().items():
            self._known.add(rank)  # its group has started, or there would be none
            list(self._ping(name, rank, lambda rank: rank.status.remote(), self._kill))
        if going := draining_nodes():
            for replicas in watched.working():
                replicas.vacate(lambda actor: node_of(actor) in going, self._say)
        for number, reward in enumerate(watched.rewards):
            ping = lambda reward: reward.status.options(concurrency_group=SIGNS).remote()  # noqa: E731
            list(self._ping(f"reward-{number}", reward, ping, self._restart))

    def _ping(
        self, name: str, actor: Any, ask: Callable[[Any], Any], silent: Callable[[Any], None]
    ) -> Iterator[Any]:
        """Yield an actor's answer if there is one; act on its silence."""
        now_s, ping = time.monotonic(), self._pings.get(actor)
        if ping is None:
            # One that has not answered yet is still being made.
            limit_s = self._config.silence_s if actor in self._known else RESTART_TIMEOUT_S
            self._pings[actor] = _Ping(ask(actor), now_s, limit_s)
            return
        if ray.wait([ping.call], timeout=0)[0]:
            del self._pings[actor]
            try:
                answer = ray.get(ping.call)
            except ray.exceptions.ActorUnavailableError:
                if self._starts_again(name, actor, now_s):
                    return
                self._say(f"{name} cannot be reached since {self._config.silence_s:.0f} s: it is killed")
                silent(actor)
                return
            except ray.exceptions.RayActorError as error:
                if name in ("queue", "store"):
                    raise StageFailed(f"{name} died for good: {plain(error)}", role=name) from error
                return
            self._unavailable_s.pop(name, None)
            self._known.add(actor)
            yield answer
            return
        if now_s - ping.sent_s > ping.limit_s:
            self._say(f"{name} is silent since {now_s - ping.sent_s:.0f} s: it is killed")
            silent(actor)
            ping.sent_s, ping.limit_s = now_s, RESTART_TIMEOUT_S

    def _starts_again(self, name: str, actor: Any, now_s: float) -> bool:
        """Whether one that cannot be reached is given more time: for a while, or while Ray restarts it."""
        if name not in self._unavailable_s:
            self._unavailable_s[name] = now_s
            self._say(f"{name} cannot be reached; Ray starts its process again if it died")
        lost_s = now_s - self._unavailable_s[name]
        if lost_s > RESTART_TIMEOUT_S:
            raise StageFailed(f"{name} does not start again since {lost_s:.0f} s", role=name)
        waited_s = now_s - max(self._unavailable_s[name], self._killed_s.get(name, 0.0))
        if waited_s <= self._config.silence_s or _is_restarting(actor):
            return True
        self._killed_s[name] = now_s
        return False

    def _noted(self, name: str, pid: int) -> None:
        before = self._pids.get(name)
        self._pids[name] = pid
        if before is not None and before != pid:
            self.num_control_restarts += 1
            self._say(f"{name} works again in another process")

    def _restart(self, actor: Any) -> None:
        ray.kill(actor, no_restart=False)

    def _kill(self, actor: Any) -> None:
        # Whoever waits for the ranks hears of it, and starts all of them again.
        ray.kill(actor, no_restart=True)


def _is_restarting(actor: Any) -> bool:
    """Whether Ray says so; its public state needs a dashboard."""
    try:
        found = state.actors(actor._actor_id.hex())["State"]
    except Exception:  # not an interface that is promised: then the longer wait is the limit
        return True
    return bool(found != "ALIVE")
