"""A stage's busy time: the length of the union of the intervals in which it had work."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pgpo_async.metrics.durations import Durations


class BusyClock:
    """Counts seconds in which at least one piece of work was under way, and how long each took.

    Not thread safe.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._depth = 0
        self._since = 0.0
        self._total_s = 0.0
        self.pieces = Durations()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Mark one piece of work; pieces may overlap."""
        began = self._clock()
        if self._depth == 0:
            self._since = began
        self._depth += 1
        try:
            yield
        finally:
            ended = self._clock()
            self._depth -= 1
            self.pieces.add(ended - began)
            if self._depth == 0:
                self._total_s += ended - self._since

    @property
    def total_s(self) -> float:
        """Busy seconds so far, the open interval included."""
        return self._total_s + (self._clock() - self._since if self._depth else 0.0)
