"""Curves over steps: with their spread, limits, single points, and the marks of what happened.

A curve of several steps a bucket is its mean, in a band from the lowest to the highest, so that spikes are
seen. Which charts there are is `curves`' and `panels`' work. Called by `curves`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

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
    value_grid,
)
from pgpo_async.report.formats import shown
from pgpo_async.report.html_parts import text
from pgpo_async.report.scales import Axis, fitted
from pgpo_async.report.thinning import Buckets

_MAX_DOTS = 60
_SPARSE = 0.5
"""A curve with a smaller share of its buckets measured is drawn through all gaps, with its points."""
_SHORT_GAP = 0.1
"""Other curves are drawn through gaps of at most this share of the buckets."""

Band = tuple[float, float, float, float]
"""Of one bucket: its place, and the lowest, the mean and the highest value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limit:
    """A level that is told, as a bound."""

    value: float
    label: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Spot:
    """A single measurement at a step, apart from the curves."""

    step: float
    value: float
    label: str


def line_chart(
    name: str,
    title: str,
    curves: Sequence[Curve],
    buckets: Buckets,
    *,
    log: bool = False,
    from_zero: bool = False,
    limits: Sequence[Limit] = (),
    spots: Sequence[Spot] = (),
    note: str = "",
) -> Chart:
    """Return a chart of curves, each of which has a value somewhere, all written in one form."""
    values = [value for curve in curves for value in _extremes(curve, log)]
    values += [*(limit.value for limit in limits), *(spot.value for spot in spots)]
    across = step_axis(buckets)
    up = fitted(values, start=BOTTOM, end=TOP + 4, log=log, from_zero=from_zero)
    parts = [
        *value_grid(up, curves[0].form),
        *step_ticks(across),
        '<use href="#step-marks"/>',
        *(_limit(limit, up) for limit in limits),
        *(_drawn(curve, buckets, across, up) for curve in curves),
        *(_spot(spot, across, up) for spot in spots),
    ]
    drawing = svg.picture(WIDTH, HEIGHT, parts, f"{title}, {_told(curves, buckets)}")
    data = {
        "id": name,
        "axis": "steps",
        "y": [up.low, up.high, up.start, up.end],
        "log": log,
        "dots": True,
        "series": [series_data(curve) for curve in curves],
    }
    markup = figure(name, title, legend(curves) + drawing, at=last_step(buckets), note=note)
    return Chart(markup=markup, data=data)


def _extremes(curve: Curve, log: bool) -> list[float]:
    values = (*curve.values.low.tolist(), *curve.values.high.tolist())
    return [value for value in values if math.isfinite(value) and (value > 0 or not log)]


def _drawn(curve: Curve, buckets: Buckets, across: Axis, up: Axis) -> str:
    places = [across.at(centre) for centre in buckets.centres]
    bands = list(zip(places, curve.values.low, curve.values.mean, curve.values.high, strict=True))
    pieces = _pieces(bands, up.log)
    kind = f"s{curve.series}"
    spread = (
        svg.closed(
            [
                *((x, up.at(high)) for x, _, _, high in piece),
                *((x, up.at(low)) for x, low, _, _ in reversed(piece)),
            ]
        )
        for piece in pieces
        if any(low < high for _, low, _, high in piece)
    )
    middle = (svg.through([(x, up.at(mean)) for x, _, mean, _ in piece]) for piece in pieces)
    dots = "".join(
        f'<circle class="dot {kind}" cx="{svg.place(x)}" cy="{svg.place(up.at(mean))}" r="2.4"/>'
        for x, _, mean, _ in _dotted(pieces, len(bands))
    )
    return svg.path(spread, f"band {kind}") + svg.path(middle, f"curve {kind}") + dots


def _pieces(bands: Sequence[Band], log: bool) -> list[list[Band]]:
    """Cut where nothing was measured for long."""
    known = [
        number for number, band in enumerate(bands) if math.isfinite(band[2]) and (band[2] > 0 or not log)
    ]
    if not known:
        return []
    longest = len(bands) if len(known) < _SPARSE * len(bands) else max(2, round(_SHORT_GAP * len(bands)))
    pieces = [[bands[known[0]]]]
    for before, number in pairwise(known):
        if number - before > longest:
            pieces.append([])
        pieces[-1].append(bands[number])
    return pieces


def _dotted(pieces: Sequence[Sequence[Band]], num_buckets: int) -> list[Band]:
    """Points that a line alone would not show: of few measurements each."""
    points = [band for piece in pieces for band in piece]
    if len(points) <= _MAX_DOTS and len(points) < _SPARSE * num_buckets:
        return points
    return [piece[0] for piece in pieces if len(piece) == 1]


def _limit(limit: Limit, up: Axis) -> str:
    height = up.at(limit.value)
    return svg.line(LEFT, height, RIGHT, height, "limit") + svg.label(
        RIGHT, height - 4 if height > TOP + 14 else height + 12, limit.label, "end", "limit-name"
    )


def _spot(spot: Spot, across: Axis, up: Axis) -> str:
    x, y = across.at(spot.step), up.at(spot.value)
    corners = [(x, y - 5), (x + 5, y), (x, y + 5), (x - 5, y)]
    return f"<g>{svg.path([svg.closed(corners)], 'spot')}<title>{text(spot.label)}</title></g>"


def _told(curves: Sequence[Curve], buckets: Buckets) -> str:
    texts = []
    for curve in curves:
        known = [float(value) for value in curve.values.mean if math.isfinite(value)]
        first, last = shown(known[0], curve.form), shown(known[-1], curve.form)
        texts.append(f"{curve.label} from {first} to {last}")
    steps = f"steps {buckets.first_steps[0]} to {buckets.last_steps[-1]}" if buckets.num else "no step"
    return f"{steps}: {'; '.join(texts)}"
