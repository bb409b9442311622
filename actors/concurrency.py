"""How many prompts one engine works on at a time: as many as its cache holds without throwing work away.

Additive increase, multiplicative decrease: the limit grows by a little while the engine has room and is asked
for more, and is cut when it preempts requests (their tokens are computed again) or its key-value cache is
nearly full. Pure; `generator` asks it before each draw, and admission bounds it from outside.
"""

import math
from dataclasses import dataclass

FULL = 0.97
"""Cache use above which the limit is cut, preemption or not."""
ROOM = 0.85
"""Cache use below which it may grow."""
CUT = 0.75
"""Share of the prompts in flight that is left."""
INTERVAL_S = 2.0
"""Between two changes: the effect of one must show before the next."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineLoad:
    """Since the last look: the most of the cache used (0 to 1) and of requests waiting; preemptions."""

    cache_use: float
    num_waiting: int
    num_preempted: int


class ConcurrencyLimit:
    """Between 1 and `most`, beginning with `start`."""

    def __init__(self, start: int, most: int) -> None:
        if not 1 <= start <= most:
            raise ValueError(f"start must be between 1 and most ({most}), got {start}")
        self.value = start
        self.num_cuts = 0
        self._most = most
        self._step = max(1, start // 16)
        self._changed_s = -math.inf

    def due(self, now_s: float) -> bool:
        """Whether the engine's load should be looked at."""
        return now_s - self._changed_s >= INTERVAL_S

    def adapt(self, load: EngineLoad, num_in_flight: int, now_s: float) -> None:
        """Take in a look at the engine; call it where `due`."""
        self._changed_s = now_s
        if load.num_preempted or load.cache_use >= FULL:
            self.value = max(1, math.floor(CUT * min(self.value, max(num_in_flight, 1))))
            self.num_cuts += 1
        elif num_in_flight >= self.value and load.num_waiting == 0 and load.cache_use <= ROOM:
            self.value = min(self._most, self.value + self._step)
