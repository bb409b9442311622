"""What all charts over steps have in common: place and ticks of their axes, key, title, data for the script.

Owns the frame, so that the charts line up and one pointer reads them all. What is inside is drawn by `charts`
and `heat_maps`; what a pointer does is `page_script`'s work.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pgpo_async.report import svg
from pgpo_async.report.formats import NOT_KNOWN, shown
from pgpo_async.report.html_parts import text
from pgpo_async.report.scales import Axis
from pgpo_async.report.thinning import Buckets, Thinned

WIDTH, HEIGHT = 460.0, 196.0
LEFT, RIGHT, TOP, BOTTOM = 52.0, 448.0, 18.0, 172.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """One line: its name, its colour (`--series-N`), how its values are written (`formats.FORMATS`)."""

    label: str
    values: Thinned
    series: int
    form: str = "number"


@dataclass(frozen=True, kw_only=True, slots=True)
class Chart:
    """A chart's markup, and what the script needs to tell the values under the pointer; empty for none."""

    markup: str
    data: dict[str, Any] = field(default_factory=dict)


def step_axis(buckets: Buckets) -> Axis:
    """Return the axis of all charts over steps."""
    low, high = (int(buckets.first_steps[0]), int(buckets.last_steps[-1])) if buckets.num else (0, 1)
    room = 0.5 if low == high else 0.0
    return Axis(low=low - room, high=high + room, start=LEFT, end=RIGHT, whole=True)


def step_axis_data(buckets: Buckets) -> dict[str, Any]:
    """Return the same axis as the script reads it."""
    axis = step_axis(buckets)
    return {
        "ends": [axis.low, axis.high, axis.start, axis.end],
        "first": buckets.first_steps.tolist(),
        "last": buckets.last_steps.tolist(),
        "form": "step",
    }


def value_grid(up: Axis, form: str) -> Iterable[str]:
    """Return the lines across a chart, with what they stand for."""
    for value in up.ticks():
        height = up.at(value)
        yield svg.line(LEFT, height, RIGHT, height, "grid")
        yield svg.label(LEFT - 6, height + 4, tick_label(value, form, up), "end")


def step_ticks(across: Axis) -> Iterable[str]:
    """Return the steps under a chart."""
    for value in across.ticks(5):
        yield svg.line(across.at(value), BOTTOM, across.at(value), BOTTOM + 4, "axis")
        yield svg.label(across.at(value), BOTTOM + 18, f"{value:,.0f}", "middle")
    yield svg.line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis")


def tick_label(value: float, form: str, axis: Axis) -> str:
    """Return what an axis calls a value: short, for there is little room."""
    if form == "share":
        wide = axis.high - axis.low
        return f"{100 * value:.{0 if wide > 0.03 else 1 if wide > 0.003 else 2}f} %"
    if form in ("seconds", "bytes"):
        return shown(value, form) if value else "0"
    if value and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}".replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
    return f"{value:,g}" if abs(value) < 1e4 else f"{value / 1e3:,g}k"


def legend(curves: Sequence[Curve], before: str = "") -> str:
    """Return the curves' names with their last values, which the script replaces by those at the pointer.

    `before` is markup.
    """
    items = []
    for number, curve in enumerate(curves):
        items.append(legend_item(curve.label, _last(curve), number, f"s{curve.series}"))
    return f'<ul class="legend">{"".join(items)}{before}</ul>'


def legend_item(label: str, value: str, number: int, kind: str) -> str:
    """Return the name of the `number`-th series of a chart with a value of it."""
    return (
        f'<li><span class="key {kind}"></span>{text(label)} '
        f'<span class="value" data-series="{number}">{text(value)}</span></li>'
    )


def figure(name: str, title: str, content: str, *, at: str = "", note: str = "") -> str:
    """Return a chart with its title; `at` is the place that its key's values are of, `content` markup."""
    below = f'<figcaption class="remark">{text(note)}</figcaption>' if note else ""
    return (
        f'<figure class="card" id="{text(name)}" tabindex="0"><h3>{text(title)}'
        f'<span class="at">{text(at)}</span></h3>{content}{below}</figure>'
    )


def last_step(buckets: Buckets) -> str:
    """Return the place of the last values."""
    if not buckets.num:
        return ""
    first, last = buckets.first_steps[-1], buckets.last_steps[-1]
    return f"step {last:,}" if first == last else f"steps {first:,}\u2013{last:,}"


def _last(curve: Curve) -> str:
    """The last value with its spread, written as the script writes those at the pointer."""
    known = np.flatnonzero(np.isfinite(curve.values.mean))
    if not len(known):
        return NOT_KNOWN
    values = (curve.values.mean, curve.values.low, curve.values.high)
    mean, low, high = (shown(float(row[known[-1]]), curve.form) for row in values)
    return mean if low == high else f"{mean} ({low} to {high})"


def series_data(curve: Curve) -> dict[str, Any]:
    """Return a curve as the script reads it; without its extremes where they are its values."""
    mean = rounded(curve.values.mean)
    data: dict[str, Any] = {"form": curve.form, "class": curve.series, "mean": mean}
    low, high = rounded(curve.values.low), rounded(curve.values.high)
    return data if low == mean == high else data | {"low": low, "high": high}


def rounded(values: Iterable[float]) -> list[float | None]:
    """Return values with the digits that are shown, None where there is none."""
    return [float(f"{value:.4g}") if math.isfinite(value) else None for value in values]
