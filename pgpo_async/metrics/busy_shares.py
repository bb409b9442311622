"""How busy each stage was lately, from its actors' busy seconds, which begin again where one is replaced."""

import time
from collections import deque
from collections.abc import Callable, Mapping

WINDOW_S = 30.0


class BusyShares:
    """Fed with each actor's busy seconds so far; a stage's are the mean over its actors."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[str, float] = {}
        self.totals_s: dict[str, float] = {}
        self._past: deque[tuple[float, dict[str, float]]] = deque()

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

    def shares(self) -> dict[str, float]:
        """Share of the last half minute that each stage was busy; empty before the second look."""
        if len(self._past) < 2:
            return {}
        (began_s, before), (ended_s, now) = self._past[0], self._past[-1]
        passed_s = ended_s - began_s
        if passed_s <= 0:
            return {}
        return {stage: min(1.0, (total - before.get(stage, 0.0)) / passed_s) for stage, total in now.items()}
