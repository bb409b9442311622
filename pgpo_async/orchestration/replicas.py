"""The actors of one role that work in loops of their own (generators, scorers): started, replaced, stopped.

Owns which actor stands at which place, and its budget of restarts. A dead actor's leases, slots and turns are
given back at once by the caller's `forget`; another is started at its place while all others go on. A failure
that a new process cannot cure (a wrong config) is raised at once.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import ray

from pgpo_async.contracts import ConfigError, StageFailed
from pgpo_async.contracts.errors import plain


@dataclass(slots=True)
class _Place:
    """`name` is the role's number, and after a death the number of the replacement: generator-0.1."""

    base: str
    actor: Any
    num_restarts: int = 0
    starting: bool = False

    @property
    def name(self) -> str:
        return f"{self.base}.{self.num_restarts}" if self.num_restarts else self.base


class Replicas:
    """`make(name)` places an actor with the methods start, run, stop and close."""

    def __init__(self, role: str, count: int, make: Callable[[str], Any], max_restarts: int) -> None:
        self._role = role
        self._make = make
        self._max_restarts = max_restarts
        self._places = [_Place(f"{role}-{i}", make(f"{role}-{i}")) for i in range(count)]
        self._calls: dict[Any, _Place] = {}

    @property
    def actors(self) -> list[Any]:
        """All, those being started included."""
        return [place.actor for place in self._places]

    @property
    def num_restarts(self) -> int:
        """Replacements so far."""
        return sum(place.num_restarts for place in self._places)

    @property
    def calls(self) -> list[Any]:
        """The loops, and the starts of replacements: one that is ready has failed, or has started."""
        return list(self._calls)

    def named(self, call: Callable[[Any], Any]) -> dict[Any, str]:
        """Make a call to each actor; return the calls with the actors' names."""
        return {call(place.actor): place.name for place in self._places}

    def run(self) -> None:
        """Let all work until `stop`."""
        self._calls = {}
        for place in self._places:
            self._run(place)

    def attend(self, call: Any, forget: Callable[[str], None], say: Callable[[str], None]) -> None:
        """See to one of `calls` that is ready. Raises StageFailed once the budget of restarts is used up."""
        place = self._calls.pop(call)
        try:
            ray.get(call)
        except Exception as error:
            self._replace(place, plain(error), forget, say)
            return
        if not place.starting:
            raise StageFailed(f"{place.name} ended by itself", role=self._role)
        self._run(place)
        say(f"{place.name} works in the place of one that died")

    def _replace(
        self, place: _Place, error: BaseException, forget: Callable[[str], None], say: Callable[[str], None]
    ) -> None:
        ray.kill(place.actor, no_restart=True)
        forget(place.name)
        curable = not isinstance(error, ConfigError) and place.num_restarts < self._max_restarts
        if not curable:
            tried = f" after {place.num_restarts} restarts" if place.num_restarts else ""
            raise StageFailed(f"{place.name} failed{tried}: {error}", role=self._role) from error
        died, place.num_restarts, place.starting = place.name, place.num_restarts + 1, True
        say(f"{died} failed: {_short(error)}; starting {place.name} ({self._budget(place)})")
        place.actor = self._make(place.name)
        self._calls[place.actor.start.remote()] = place

    def _budget(self, place: _Place) -> str:
        return f"restart {place.num_restarts} of at most {self._max_restarts}"

    def _run(self, place: _Place) -> None:
        place.starting = False
        self._calls[place.actor.run.remote()] = place

    def stop(self) -> list[Any]:
        """Ask all loops to end; return what to wait for."""
        for place in self._places:
            place.actor.stop.remote()
        calls, self._calls = [c for c, place in self._calls.items() if not place.starting], {}
        return calls

    def ask(self, method: str) -> Iterable[Any]:
        """Call a method of each actor, but of one that is being started: it would not answer."""
        return [getattr(place.actor, method).remote() for place in self._places if not place.starting]


def _short(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
