"""How long responses are: a log-normal, cut at the longest allowed, and the longest of a group.

Pure. An engine is busy with a group until its longest response ends: that, not the mean, is a group's time.
"""

import math
from dataclasses import dataclass

SIGMA = 0.5
"""Of the logarithm of a response's length: one in a hundred is three times the median."""
_NUM_STEPS = 400


@dataclass(frozen=True, kw_only=True, slots=True)
class Lengths:
    """Tokens of responses: the mean, and of the longest of a group the mean and the spread."""

    mean: float
    longest: float
    longest_sigma: float
    """Of the log-normal with the longest one's mean and variance."""
    square: float
    """Mean of the squares."""


def response_lengths(mean: float, most: int, group_size: int, sigma: float = SIGMA) -> Lengths:
    """Return the lengths of responses of this mean (before the cut), at most `most`, in groups.

    E[max] = integral of 1 - F(x)^G from 0 to `most`, E[max^2] = integral of 2 x (1 - F(x)^G), by midpoints.
    """
    if sigma == 0:
        length = min(mean, float(most))
        return Lengths(mean=length, longest=length, longest_sigma=0.0, square=length**2)
    median = mean * math.exp(-(sigma**2) / 2)
    width = most / _NUM_STEPS
    first = longest = second = square = 0.0
    for step in range(_NUM_STEPS):
        length = (step + 0.5) * width
        below = 0.5 * (1 + math.erf(math.log(length / median) / (sigma * math.sqrt(2))))
        first += (1 - below) * width
        square += 2 * length * (1 - below) * width
        longest += (1 - below**group_size) * width
        second += 2 * length * (1 - below**group_size) * width
    spread = math.sqrt(math.log(max(1.0, second / longest**2)))
    return Lengths(mean=first, longest=longest, longest_sigma=spread, square=square)
