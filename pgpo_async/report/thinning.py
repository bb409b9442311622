"""Long curves made short: steps in buckets, and of each bucket the lowest, the mean and the highest value.

Owns which steps share a bucket; all charts over steps share one division, so one pointer reads them all. No
spike is lost: a bucket keeps its extremes. A run of few steps has a bucket for each. Called by `curves` and
`heat_maps`.
"""

import warnings
from dataclasses import dataclass

import numpy as np

from pgpo_async.report.step_table import Float64Array, Int64Array

MAX_BUCKETS = 400
"""About a pixel each in a chart of the page."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Buckets:
    """Consecutive rows of the step table: bucket i holds rows [edges[i], edges[i + 1]), never none."""

    edges: Int64Array
    first_steps: Int64Array
    last_steps: Int64Array

    @property
    def num(self) -> int:
        """How many there are."""
        return len(self.first_steps)

    @property
    def single(self) -> bool:
        """Whether each holds one step."""
        return bool((np.diff(self.edges) == 1).all())

    @property
    def centres(self) -> Float64Array:
        """Where each is drawn, in steps."""
        return (self.first_steps + self.last_steps) / 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Thinned:
    """A curve: float64 [buckets] each, NaN where the bucket has no value."""

    low: Float64Array
    mean: Float64Array
    high: Float64Array


def buckets_of(steps: Int64Array, max_buckets: int = MAX_BUCKETS) -> Buckets:
    """Divide steps, in ascending order, into at most `max_buckets` of equal counts, but for one."""
    num = min(len(steps), max_buckets)
    edges = np.linspace(0, len(steps), num + 1).round().astype(np.int64)
    return Buckets(edges=edges, first_steps=steps[edges[:-1]], last_steps=steps[edges[1:] - 1])


def thinned(values: Float64Array, buckets: Buckets) -> Thinned:
    """Return float64 [rows] by bucket; what is not finite does not count."""
    if not buckets.num:
        nothing = np.zeros(0)
        return Thinned(low=nothing, mean=nothing, high=nothing)
    known = np.where(np.isfinite(values), values, np.nan)
    starts = buckets.edges[:-1]
    counts = np.add.reduceat(np.isfinite(known).astype(np.float64), starts)
    # fmin and fmax leave NaN out where there is anything else.
    low, high = np.fmin.reduceat(known, starts), np.fmax.reduceat(known, starts)
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        warnings.simplefilter("ignore")
        # Divided first: a sum of finite numbers may not be finite.
        shares = np.nan_to_num(known) / np.repeat(np.maximum(counts, 1.0), np.diff(buckets.edges))
        mean = np.where(counts > 0, np.add.reduceat(shares, starts), np.nan)
    return Thinned(low=low, mean=np.clip(mean, low, high), high=high)
