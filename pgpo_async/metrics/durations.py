"""How long one kind of work takes: mean and spread, as the planner wants them."""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(slots=True)
class Durations:
    """Sums over pieces of work; those of several actors can be added up."""

    count: int = 0
    total_s: float = 0.0
    sum_log: float = 0.0
    sum_log_squared: float = 0.0

    def add(self, seconds: float) -> None:
        """Take in one piece of work."""
        log = math.log(max(seconds, 1e-9))
        self.count += 1
        self.total_s += seconds
        self.sum_log += log
        self.sum_log_squared += log * log

    @property
    def mean_s(self) -> float:
        """Mean seconds; 0 before the first."""
        return self.total_s / self.count if self.count else 0.0

    @property
    def sigma(self) -> float:
        """Standard deviation of the logarithms: sigma of a log-normal."""
        if self.count < 2:
            return 0.0
        mean = self.sum_log / self.count
        return math.sqrt(max(0.0, self.sum_log_squared / self.count - mean * mean))


def summed(parts: Iterable[Durations]) -> Durations:
    """Add up what several actors measured."""
    total = Durations()
    for part in parts:
        total.count += part.count
        total.total_s += part.total_s
        total.sum_log += part.sum_log
        total.sum_log_squared += part.sum_log_squared
    return total
