"""From values to places in a chart: a linear or logarithmic axis with round ticks.

Owns which numbers an axis shows and what it calls them. Called by the charts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

NUM_TICKS = 4
_PADDING = 0.05
"""Of the values' range, left free above and below."""
_SMALLEST, _LARGEST = 1e-300, 1e300
"""No axis goes further."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Axis:
    """`low` is at `start` and `high` at `end`, in the chart's units; `low` < `high`."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False
    whole: bool = False
    """Whether only whole numbers are ticks."""

    def at(self, value: float) -> float:
        """Return the place of a value, which a value beyond the axis has at its end."""
        value = min(max(value, self.low), self.high)
        low, high = self._line(self.low), self._line(self.high)
        return self.start + (self._line(value) - low) / (high - low) * (self.end - self.start)

    def ticks(self, target: int = NUM_TICKS) -> list[float]:
        """Return round values on the axis, about `target` of them."""
        return self._decades(target) if self.log else self._rounds(target)

    def _line(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def _rounds(self, target: int) -> list[float]:
        step = _round_step((self.high - self.low) / max(1, target))
        if self.whole:
            step = max(1.0, float(round(step)))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        # Fifteen digits: 3 x 0.1 is written 0.3.
        return [float(f"{number * step:.14g}") for number in range(first, last + 1)]

    def _decades(self, target: int) -> list[float]:
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        if last - first >= 1:
            every = max(1, math.ceil((last - first) / target))
            return [10.0**power for power in range(first, last + 1) if (power - last) % every == 0]
        within = [digit * 10.0**power for power in range(first - 1, last + 1) for digit in (1, 2, 5)]
        return [value for value in within if self.low <= value <= self.high]


def fitted(
    values: Sequence[float], *, start: float, end: float, log: bool = False, from_zero: bool = False
) -> Axis:
    """Return an axis on which all values are seen; of no values from 0 to 1."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    if log:
        first, last = (math.log10(min(max(value, _SMALLEST), _LARGEST)) for value in (low, high))
        room = max(_PADDING * (last - first), 0.2 - (last - first) / 2)
        # Beyond these powers floats end.
        first, last = max(first - room, -307.0), min(last + room, 307.0)
        return Axis(low=10.0**first, high=10.0**last, start=start, end=end, log=True)
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    # The difference of numbers at the end of what floats hold is none.
    low, high = (min(max(value, -_LARGEST), _LARGEST) for value in (low, high))
    # So near to each other, or so small, they are one value on any axis.
    if high - low <= max(1e-9 * max(abs(low), abs(high)), _SMALLEST):
        room = 0.1 * abs(high) if abs(high) > 100 * _SMALLEST else 1.0
        low, high = (low, high + room) if from_zero and low >= 0 else (low - room, high + room)
    margin = _PADDING * (high - low)
    return Axis(low=low if from_zero and low == 0 else low - margin, high=high + margin, start=start, end=end)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(max(rough, _SMALLEST)))
    return next((digit * power for digit in (1, 2, 2.5, 5) if digit * power >= 0.75 * rough), 10 * power)
