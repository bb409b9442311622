"""How busy each stage was lately, from its actors' busy seconds, which begin again where one is replaced."""

import time
from collections import deque
from collections.abc import Callable, Mapping

WINDOW_S = 30.0

_Mark = tuple[float, dict[str, float]]
"""When, and each stage's busy seconds until then."""


class BusyShares:
    """Fed with each actor's busy seconds so far; a stage's are the mean over its actors."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, float] = {}
        self.totals_s: dict[str, float] = {}
        self._past: deque[_Mark] = deque()
        self._told: _Mark | None = None
        self._said: dict[str, float] = {}

    def add(self, stage: str, busy_s: Mapping[str, float]) -> None:
        """Take in what all actors of a stage say now, by their names."""
        grown = 0.0
        for name, now_s in busy_s.items():
            before_s = self._seen.get(name, 0.0)
            grown += now_s - before_s if now_s >= before_s else now_s
            self._seen[name] = now_s
        if busy_s:
            self.totals_s[stage] = self.totals_s.get(stage, 0.0) + grown / len(busy_s)

    def mark(self) -> None:
        """End a look; shares are between looks."""
        now_s = self._clock()
        self._past.append((now_s, dict(self.totals_s)))
        while len(self._past) > 2 and now_s - self._past[1][0] >= WINDOW_S:
            self._past.popleft()

    def since_last(self) -> dict[str, float]:
        """Share of the time since the last call that each stage was busy, between looks; empty at the first.

        Between two looks there is nothing new to say: the same again.
        """
        if self._past and self._past[-1] is not self._told:
            before, self._told = self._told, self._past[-1]
            if before is not None:
                self._said = _shares(before, self._told)
        return self._said

    def shares(self) -> dict[str, float]:
        """Share of the last half minute that each stage was busy; empty before the second look."""
        if len(self._past) < 2:
            return {}
        return _shares(self._past[0], self._past[-1])


def _shares(before: _Mark, after: _Mark) -> dict[str, float]:
    (began_s, then), (ended_s, now) = before, after
    passed_s = ended_s - began_s
    if passed_s <= 0:
        return {}
    return {stage: min(1.0, (total - then.get(stage, 0.0)) / passed_s) for stage, total in now.items()}
