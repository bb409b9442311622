"""The actors of one role that work in loops of their own (generators, scorers): started, replaced, stopped.

Owns which actor stands at which place, and each place's budget of restarts: so many in a while, the first at
once, each further one after a longer pause. A dead actor's leases, slots and turns are given back at once by
the caller's `forget`; another is started at its place while all others go on. A place whose budget is used up
stays empty as long as the role has its least number of actors. A failure that a new process cannot cure is
raised at once. Called by `supervisor`, in its thread, but for starting and stopping.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import ray

from pgpo_async.config.pipeline import LoopRoleConfig, SupervisionConfig
from pgpo_async.contracts import ConfigError, JournalError, StageFailed
from pgpo_async.contracts.errors import plain
from pgpo_async.orchestration.actor_calls import was_killed
from pgpo_async.orchestration.beats import Beat, silence

Say = Callable[[str], None]
INCURABLE = (ConfigError, JournalError)
"""A new process would fail as well: a wrong config, or a queue that cannot write."""


@dataclass(slots=True)
class _Place:
    """`name` is the role's number, and after a death the number of the replacement: generator-0.1.

    `doing` is "ready", "start", "run", "leave" (asked to end) or "rest" (until `until_s`), since `since_s`.
    """

    base: str
    actor: Any
    number: int = 0
    doing: str = "ready"
    since_s: float = field(default_factory=time.monotonic)
    until_s: float = 0.0
    deaths: deque[float] = field(default_factory=deque)
    verdict: str | None = None

    @property
    def name(self) -> str:
        return f"{self.base}.{self.number}" if self.number else self.base

    def begin(self, doing: str) -> None:
        self.doing, self.since_s, self.verdict = doing, time.monotonic(), None


class PlaceView(NamedTuple):
    """Of one place, as others see it. `starts` since `for_s`: it would not answer yet."""

    name: str
    actor: Any
    starts: bool
    for_s: float


class Replicas:
    """`make(name)` places an actor with the methods start, run, stop and close."""

    def __init__(
        self,
        role: str,
        config: LoopRoleConfig,
        supervision: SupervisionConfig,
        make: Callable[[str], Any],
        *,
        forget: Callable[[str], None],
        start_timeout_s: float,
    ) -> None:
        self.role = role
        self._config = config
        self._supervision = supervision
        self._make = make
        self._forget = forget
        self._start_timeout_s = start_timeout_s
        self._lock = threading.RLock()
        self._num_made = 0
        self._places: list[_Place] = []
        self._calls: dict[Any, _Place] = {}
        self._running = self._has_run = False
        self.num_restarts = 0
        for _ in range(config.replicas):
            self._add()

    def _add(self) -> _Place:
        name = f"{self.role}-{self._num_made}"
        self._num_made += 1
        place = _Place(name, self._make(name))
        self._places.append(place)
        return place

    @property
    def actors(self) -> list[Any]:
        """All, those being started included."""
        with self._lock:
            return [place.actor for place in self._places if place.doing != "rest"]

    def places(self) -> list[PlaceView]:
        """All, those included that rest until they are started again."""
        now_s = time.monotonic()
        with self._lock:
            return [
                PlaceView(place.name, place.actor, place.doing in ("start", "rest"), now_s - place.since_s)
                for place in self._places
            ]

    @property
    def calls(self) -> list[Any]:
        """The loops, and the starts of replacements: one that is ready has failed, or has started."""
        with self._lock:
            return list(self._calls)

    def named(self, call: Callable[[Any], Any]) -> dict[Any, str]:
        """Make a call to each actor; return the calls with the actors' names."""
        with self._lock:
            return {call(place.actor): place.name for place in self._places if place.doing != "rest"}

    def start(self) -> None:
        """Let all load what they need; `attend` until they are `ready`."""
        with self._lock:
            for place in self._places:
                self._start(place)

    @property
    def ready(self) -> bool:
        """Whether all have started."""
        with self._lock:
            return all(place.doing == "ready" for place in self._places)

    @property
    def idle(self) -> dict[str, Any]:
        """Those that have started and whose loops do not run, by name."""
        with self._lock:
            return {place.name: place.actor for place in self._places if place.doing == "ready"}

    def found_dead(self, actor: Any, error: BaseException, say: Say) -> None:
        """Replace an idle one that failed a call. Raises StageFailed where the role cannot go on."""
        with self._lock:
            for place in self._places:
                if place.actor is actor and place.doing == "ready":
                    self._died(place, error, say)

    def run(self) -> None:
        """Let all work until `stop`, those that still start as soon as they have."""
        with self._lock:
            self._running = self._has_run = True
            self._calls = {call: place for call, place in self._calls.items() if place.doing == "start"}
            for place in self._places:
                if place.doing not in ("start", "rest"):
                    self._run(place)

    def attend(self, say: Say) -> None:
        """See to what has ended or is due. Raises StageFailed where the role cannot go on."""
        with self._lock:
            for call in _ready(list(self._calls)):
                self._ended(call, say)
            now_s = time.monotonic()
            for place in self._places:
                if place.doing == "rest" and now_s >= place.until_s:
                    self._start_again(place)
                elif place.doing == "start" and now_s - place.since_s > self._start_timeout_s:
                    self._kill(place, f"did not start within {self._start_timeout_s:.0f} s")

    def check(self, beats: Mapping[str, Beat], listened_s: float, say: Say) -> None:
        """Kill whoever is silent, or does nothing where there is work, for too long.

        `beats` were heard in the last `listened_s` seconds.
        """
        now_s = time.monotonic()
        with self._lock:
            for place in self._places:
                if place.doing in ("run", "leave"):
                    heard_s = min(now_s - place.since_s, listened_s)
                    reason = silence(beats.get(place.name), heard_s, self._supervision)
                    if reason is not None and place.verdict is None:
                        say(f"{place.name} {reason}: it is killed")
                        self._kill(place, reason)

    def _kill(self, place: _Place, reason: str) -> None:
        place.verdict = reason
        ray.kill(place.actor, no_restart=True)

    def _ended(self, call: Any, say: Say) -> None:
        place = self._calls.pop(call)
        try:
            ray.get(call)
        except Exception as error:
            self._died(place, plain(error), say)
            return
        if place.doing == "start" and not self._running:
            place.begin("ready")
        elif place.doing == "start":
            self._run(place)
            say(
                f"{place.name} works in the place of one that died" if place.number else f"{place.name} works"
            )
        elif place.doing == "leave":
            self._forget(place.name)
            self._places.remove(place)
            place.actor.close.remote()
            say(f"{place.name} has left")
        else:
            raise StageFailed(f"{place.name} ended by itself", role=self.role)

    def _died(self, place: _Place, error: BaseException, say: Say) -> None:
        ray.kill(place.actor, no_restart=True)
        self._forget(place.name)
        why = place.verdict or _short(error)
        if place.doing == "leave":
            self._places.remove(place)
            say(f"{place.name}, which was leaving, ended: {why}")
            return
        if not (self._has_run or (was_killed(error) and not place.verdict)):
            # At the beginning only a process that was killed is worth another try.
            raise StageFailed(f"{place.name} failed to start: {why}", role=self.role) from error
        now_s, window_s = time.monotonic(), self._supervision.restart_window_s
        while place.deaths and now_s - place.deaths[0] > window_s:
            place.deaths.popleft()
        if isinstance(error, INCURABLE) or len(place.deaths) >= self._config.max_restarts:
            self._give_up(place, error, why, say)
            return
        place.deaths.append(now_s)
        died, place.number = place.name, place.number + 1
        self.num_restarts += 1
        pause_s = self._pause_s(len(place.deaths))
        budget = f"restart {len(place.deaths)} of at most {self._config.max_restarts}"
        when = f" in {pause_s:.0f} s" if pause_s else ""
        say(f"{died} failed: {why}; starting {place.name}{when} ({budget})")
        place.begin("rest")
        place.until_s = now_s + pause_s
        if not pause_s:
            self._start_again(place)

    def _pause_s(self, num_deaths: int) -> float:
        """None after the first death, then doubling."""
        supervision = self._supervision
        if num_deaths < 2:
            return 0.0
        return min(supervision.backoff_s * 2.0 ** (num_deaths - 2), supervision.max_backoff_s)

    def _give_up(self, place: _Place, error: BaseException, why: str, say: Say) -> None:
        tried = f" after {len(place.deaths)} restarts" if place.deaths else ""
        left = sum(other.doing != "leave" for other in self._places) - 1
        if isinstance(error, INCURABLE) or left < self._config.min_replicas:
            least = (
                f"; {left} are left, {self.role}.min_replicas is {self._config.min_replicas}" if left else ""
            )
            raise StageFailed(f"{place.name} failed{tried}: {why}{least}", role=self.role) from error
        self._places.remove(place)
        say(f"{place.name} failed{tried}: {why}; the run goes on with {left} {self.role}s")

    def _start_again(self, place: _Place) -> None:
        place.actor = self._make(place.name)
        self._start(place)

    def _start(self, place: _Place) -> None:
        place.begin("start")
        self._calls[place.actor.start.remote()] = place

    def _run(self, place: _Place) -> None:
        place.begin("run")
        self._calls[place.actor.run.remote()] = place

    # By hand, or because nodes go, in a running job

    @property
    def count(self) -> int:
        """Actors that work, or are to."""
        with self._lock:
            return sum(place.doing != "leave" for place in self._places)

    def resize(self, count: int) -> None:
        """Start more actors, or ask the newest to end what they are at and leave."""
        with self._lock:
            staying = [place for place in self._places if place.doing != "leave"]
            for _ in range(count - len(staying)):
                self._start(self._add())
            for place in reversed(staying[count:]):
                self._leave(place)

    def vacate(self, is_going: Callable[[Any], bool], say: Say) -> None:
        """Start others in the place of actors whose node is about to go, which end what they are at."""
        with self._lock:
            for place in list(self._places):
                if place.doing in ("start", "ready", "run") and is_going(place.actor):
                    self._leave(place)
                    successor = self._add()
                    self._start(successor)
                    say(f"the node of {place.name} is about to go: starting {successor.name}, it leaves")

    def _leave(self, place: _Place) -> None:
        if place.doing == "run":
            place.begin("leave")
            place.actor.leave.remote()
            return
        # It holds nothing yet.
        self._calls = {call: other for call, other in self._calls.items() if other is not place}
        self._places.remove(place)
        ray.kill(place.actor, no_restart=True)

    def stop(self) -> list[Any]:
        """Ask all loops to end; return what to wait for."""
        with self._lock:
            calls = [call for call, place in self._calls.items() if place.doing != "start"]
            for place in self._places:
                if place.doing != "rest":
                    place.actor.stop.remote()
                if place.doing in ("run", "leave"):
                    place.begin("ready")
            self._calls = {call: place for call, place in self._calls.items() if place.doing == "start"}
            self._running = False
            return calls

    def ask(self, method: str) -> Iterable[Any]:
        """Call a method of each actor, but of one that is being started: it would not answer."""
        with self._lock:
            at_work = [place.actor for place in self._places if place.doing not in ("start", "rest")]
        return [getattr(actor, method).remote() for actor in at_work]


def _ready(calls: list[Any]) -> list[Any]:
    return list(ray.wait(calls, num_returns=len(calls), timeout=0)[0]) if calls else []


def _short(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
