"""How values are spread: lags as bars and over steps, rewards over steps.

Owns the counting into cells, and the shades: a cell's is its share of the bucket's groups, darker is more.
Called by `report_page`.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pgpo_async.report import svg
from pgpo_async.report.chart_frame import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Chart,
    Curve,
    figure,
    last_step,
    legend,
    series_data,
    step_axis,
    step_ticks,
)
from pgpo_async.report.formats import number, plural, share
from pgpo_async.report.run_data import RunData
from pgpo_async.report.run_files import as_count, as_mapping
from pgpo_async.report.scales import fitted
from pgpo_async.report.step_table import Float64Array, Int64Array
from pgpo_async.report.thinning import Buckets, Thinned, buckets_of

MAX_COLUMNS = 100
REWARD_BINS = 20
MAX_LAG_ROWS = 24
"""The last row holds all greater lags."""
SHADES = 8
_LAST_BAR = 40

Counts = npt.NDArray[np.int64]


def lag_counts(run: RunData) -> dict[int, int]:
    """Return how many groups trained at each lag: of the summary, else of the steps."""
    told = as_mapping(run.told.get("lag_histogram"))
    counts = {int(lag): as_count(num) or 0 for lag, num in told.items() if lag.isdecimal() and len(lag) < 7}
    if not counts and run.steps.lags:
        lags, nums = np.unique(np.concatenate(list(run.steps.lags)), return_counts=True)
        counts = dict(zip(lags.tolist(), nums.tolist(), strict=True))
    return dict(sorted(counts.items()))


def map_buckets(steps: Int64Array) -> Buckets:
    """Return the division that maps have: coarser than that of curves, since a cell is an area."""
    return buckets_of(steps, MAX_COLUMNS)


def lag_bars(run: RunData) -> Chart | None:
    """Return groups by lag as bars, with the bound; None where no lag is known."""
    counts, bound = lag_counts(run), run.max_lag
    total = sum(counts.values())
    if not total:
        return None
    last = min(max(*counts, bound or 0, 1), _LAST_BAR)
    shown: dict[int, int] = dict.fromkeys(range(last + 1), 0)
    for lag, num in counts.items():
        shown[min(lag, last)] += num
    up = fitted(list(shown.values()), start=BOTTOM, end=TOP + 10, from_zero=True)
    slot = (RIGHT - LEFT) / len(shown)
    parts = [svg.line(LEFT, up.at(value), RIGHT, up.at(value), "grid") for value in up.ticks()]
    parts += [svg.label(LEFT - 6, up.at(value) + 4, f"{value:,.0f}", "end") for value in up.ticks()]
    for lag, num in shown.items():
        x, y = LEFT + slot * (lag + 0.12), up.at(num)
        beyond = bound is not None and lag > bound
        name = f"{lag} or more" if lag == last and max(counts) > last else str(lag)
        told = f"lag {name}: {plural(num, 'group')}, {share(num / total)}"
        parts.append(svg.rectangle(x, y, slot * 0.76, BOTTOM - y, "bar bad" if beyond else "bar", told))
        if slot > 24:
            parts.append(svg.label(LEFT + slot * (lag + 0.5), y - 4, f"{num:,}", "middle", "value"))
        if slot > 12 or lag % 5 == 0:
            parts.append(svg.label(LEFT + slot * (lag + 0.5), BOTTOM + 18, str(lag), "middle"))
    if bound is not None and bound <= last:
        edge = min(LEFT + slot * (bound + 1), RIGHT)
        parts.append(svg.line(edge, TOP, edge, BOTTOM, "limit"))
        parts.append(svg.label(edge - 5, TOP + 9, f"bound {bound}", "end", "limit-name"))
    parts.append(svg.line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis"))
    words = ", ".join(f"{num} at lag {lag}" for lag, num in counts.items())
    drawing = svg.picture(WIDTH, HEIGHT, parts, f"Groups trained by lag: {words}")
    note = "Optimizer steps between the oldest weights in a group and the step that trained on it."
    return Chart(markup=figure("lag-bars", "Groups trained, by lag", drawing, note=note))


def lag_map(run: RunData, buckets: Buckets) -> Chart | None:
    """Return lags over steps; None where the run did not write them."""
    lags = run.steps.lags
    longest = max((int(row.max()) for row in lags if len(row)), default=-1)
    if longest < 0:
        return None
    rows = min(max(longest, run.max_lag or 0), MAX_LAG_ROWS - 1) + 1
    values = [np.minimum(row, rows - 1).astype(np.float64) for row in lags]
    counts = _counted(values, buckets, np.arange(rows + 1) - 0.5)
    names = [str(lag) for lag in range(rows)]
    if longest > rows - 1:
        names[-1] += "+"
    every = math.ceil(rows / 8)
    labels = {row + 0.5: name for row, name in enumerate(names) if row % every == 0}
    exact = [row.astype(np.float64) for row in lags]
    return _map("lag-map", "Lag over steps", counts, labels, exact, buckets, "lag")


def reward_map(run: RunData, buckets: Buckets) -> Chart | None:
    """Return the mean rewards of trained groups over steps; None where the run did not write them."""
    rewards = run.steps.rewards
    everything = np.concatenate([np.zeros(0), *rewards])
    if not len(everything):
        return None
    low, high = min(0.0, float(everything.min())), max(1.0, float(everything.max()))
    if not math.isfinite(high - low):
        return None
    edges = np.linspace(low, high, REWARD_BINS + 1)
    counts = _counted(rewards, buckets, edges)
    scale = fitted([low, high], start=0, end=1)
    width = (high - low) / REWARD_BINS
    labels = {(tick - low) / width: number(tick) for tick in scale.ticks() if low <= tick <= high}
    return _map(
        "reward-map", "Mean reward of the groups trained", counts, labels, rewards, buckets, "group reward"
    )


def _counted(values: Sequence[Float64Array], buckets: Buckets, edges: npt.NDArray[np.floating]) -> Counts:
    """Return int64 [buckets, len(edges) - 1]."""
    counts = np.zeros((buckets.num, len(edges) - 1), dtype=np.int64)
    for bucket in range(buckets.num):
        within = [values[row] for row in range(buckets.edges[bucket], buckets.edges[bucket + 1])]
        counts[bucket] = np.histogram(np.concatenate([np.zeros(0), *within]), bins=edges)[0]
    return counts


def _map(
    name: str,
    title: str,
    counts: Counts,
    labels: Mapping[float, str],
    values: Sequence[Float64Array],
    buckets: Buckets,
    noun: str,
) -> Chart:
    """Draw `counts` [buckets, rows], row 0 at the bottom; `labels` are at heights in rows."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    strongest = float(shares.max()) or 1.0
    shades = np.ceil(shares / strongest * SHADES).astype(np.int64)
    across = step_axis(buckets)
    num_rows = counts.shape[1]
    height = (BOTTOM - TOP) / num_rows
    # Each bucket as wide as its way to the next.
    centres = [across.at(centre) for centre in buckets.centres]
    borders = [LEFT, *((a + b) / 2 for a, b in pairwise(centres)), RIGHT]
    parts = [
        svg.path(
            (
                svg.box(
                    borders[bucket],
                    BOTTOM - height * (row + 1),
                    borders[bucket + 1] - borders[bucket] + 0.1,
                    height,
                )
                for bucket, row in np.argwhere(shades == shade).tolist()
            ),
            f"heat h{shade}",
        )
        for shade in range(1, SHADES + 1)
    ]
    parts += [svg.label(LEFT - 6, BOTTOM - height * at + 4, words, "end") for at, words in labels.items()]
    parts += [*step_ticks(across), '<use href="#step-marks"/>']
    curve = Curve(label=f"mean {noun}", values=_spread(values, buckets), series=1)
    data = {
        "id": name,
        "axis": "maps",
        "y": [0, 1, BOTTOM, TOP],
        "log": False,
        "dots": False,
        "series": [series_data(curve)],
    }
    drawing = svg.picture(WIDTH, HEIGHT, parts, f"{title}: a map of steps and {noun}, darker is more")
    scale = "".join(f'<span class="shade h{shade}"></span>' for shade in range(1, SHADES + 1))
    few_to_many = f"few {scale} {share(strongest)} of a step's groups"
    head = legend([curve], f'<li class="scale">{few_to_many}</li>')
    return Chart(markup=figure(name, title, head + drawing, at=last_step(buckets)), data=data)


def _spread(values: Sequence[Float64Array], buckets: Buckets) -> Thinned:
    """Return lowest, mean and highest of all values of a bucket."""
    rows = []
    for bucket in range(buckets.num):
        within = np.concatenate(
            [np.zeros(0), *(values[row] for row in range(buckets.edges[bucket], buckets.edges[bucket + 1]))]
        )
        rows.append((within.min(), within.mean(), within.max()) if len(within) else (math.nan,) * 3)
    low, mean, high = np.array(rows, dtype=np.float64).reshape(-1, 3).T
    return Thinned(low=low, mean=mean, high=high)
