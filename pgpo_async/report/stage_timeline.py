"""The stage timeline: who was busy when, what waited in the queue, what happened; over wall time.

Draws what `stage_times` found as tracks below each other, and events as marks. Called by `report_page`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pgpo_async.report import svg
from pgpo_async.report.chart_frame import Chart, figure, legend_item, rounded
from pgpo_async.report.event_marks import symbol
from pgpo_async.report.formats import seconds, shown
from pgpo_async.report.run_data import RunData
from pgpo_async.report.run_events import MARKED, Kind
from pgpo_async.report.scales import Axis
from pgpo_async.report.stage_times import Pieces, Row
from pgpo_async.report.step_table import Float64Array

WIDTH, LEFT, RIGHT = 1200.0, 132.0, 1188.0
_MARKS_Y, _TOP, _GAP, _LOW, _TALL = 12.0, 30.0, 12.0, 40.0, 96.0
_SERIES = {
    **{"generate": 1, "score": 3, "learn": 2, "wait": 4},
    **{"reserved": 1, "generated": 6, "scoring": 3, "scored": 5, "training": 2},
}
"""Colours: a group in the queue has that of the stage that works at it."""
_MAX_LINES = 60
_MAX_TOLD = 300
_NEAR = 6.0
_ROUND_TIMES_S = (0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 28800)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Track:
    """Rows drawn on top of each other; `full` is the value at the top, `told` what is said of it."""

    label: str
    told: str
    height: float
    full: float
    form: str
    rows: Sequence[tuple[Row, int]]
    """Each with the number of its colour."""


def stage_timeline(run: RunData, pieces: Pieces) -> Chart:
    """Return the drawing, as wide as the page."""
    tracks = _tracks(pieces)
    across = _axis(pieces)
    bottom = _TOP + sum(track.height + _GAP for track in tracks) - _GAP
    parts = [*_time_ticks(across, bottom)]
    y = _TOP
    for track in tracks:
        parts += _drawn(track, pieces, across, y)
        y += track.height + _GAP
    parts += _marks(run, across, bottom)
    shown_rows = [(row, series, track.form) for track in tracks for row, series in track.rows]
    data = {
        "id": "timeline",
        "axis": "time",
        "y": [0, 1, bottom, _TOP - 6],
        "log": False,
        "dots": False,
        "series": [{"form": form, "mean": rounded(row.values)} for row, _, form in shown_rows],
    }
    items = [
        legend_item(row.label, shown(row.mean, form), number, f"area s{series}")
        for number, (row, series, form) in enumerate(shown_rows)
    ]
    told = ", ".join(f"{row.label} {shown(row.mean, form)}" for row, _, form in shown_rows)
    drawing = svg.picture(WIDTH, bottom + 26, parts, f"Stages over wall time: {told}", "chart broad")
    note = "" if pieces.begin_s <= 0 else "The start, in which nothing went wrong, is left out."
    content = f'<ul class="legend">{"".join(items)}</ul><div class="wide">{drawing}</div>'
    return Chart(
        markup=figure("timeline", "Stages over wall time", content, at="means of the run", note=note),
        data=data,
    )


def time_axis_data(pieces: Pieces) -> dict[str, Any]:
    """Return the axis of time as the script reads it."""
    axis = _axis(pieces)
    return {
        "ends": [axis.low, axis.high, axis.start, axis.end],
        "first": [round(float(value), 3) for value in pieces.starts_s],
        "last": [round(float(value), 3) for value in pieces.ends_s],
        "steps": [list(pair) for pair in pieces.steps],
        "form": "time",
    }


def _axis(pieces: Pieces) -> Axis:
    return Axis(low=pieces.begin_s, high=pieces.end_s, start=LEFT, end=RIGHT)


def _tracks(pieces: Pieces) -> list[_Track]:
    tracks = [
        _Track(
            label=row.label,
            told=shown(row.mean, "share"),
            height=_LOW,
            full=1.0,
            form="share",
            rows=[(row, _SERIES[row.key])],
        )
        for row in pieces.busy
    ]
    stacks = [
        ("groups in queue", pieces.queue, _TALL, "number"),
        ("bytes in queue", pieces.bytes, _LOW, "bytes"),
    ]
    for label, rows, height, form in stacks:
        highest = float(np.sum([np.nan_to_num(row.values) for row in rows], axis=0).max()) if rows else 0.0
        if highest > 0:
            coloured = [(row, _SERIES.get(row.key, 0)) for row in rows]
            told = f"at most {shown(highest, form)}"
            tracks.append(
                _Track(label=label, told=told, height=height, full=highest, form=form, rows=coloured)
            )
    return tracks


def _drawn(track: _Track, pieces: Pieces, across: Axis, y: float) -> Iterable[str]:
    yield svg.rectangle(LEFT, y, RIGHT - LEFT, track.height, "track")
    base = np.zeros(len(pieces.starts_s))
    for row, series in track.rows:
        yield svg.path(_boxes(row.values, base, track, pieces, across, y), f"area s{series}")
        base = base + np.nan_to_num(row.values)
    yield svg.label(LEFT - 10, y + 16, track.label, "end", "row-name")
    yield svg.label(LEFT - 10, y + 33, track.told, "end", "row-value")


def _boxes(
    values: Float64Array, base: Float64Array, track: _Track, pieces: Pieces, across: Axis, y: float
) -> Iterable[str]:
    scale, floor = track.height / track.full, y + track.height
    before = -math.inf
    for value, under, start_s, end_s in zip(values, base, pieces.starts_s, pieces.ends_s, strict=True):
        left, right = across.at(float(start_s)), across.at(float(end_s))
        if abs(left - before) < 0.6:  # steps follow each other: no light between them
            left = before
        before = right
        if math.isfinite(value) and value > 0:
            height = float(value) * scale
            yield svg.box(left, floor - float(under) * scale - height, max(right - left, 0.3), height)


def _time_ticks(across: Axis, bottom: float) -> Iterable[str]:
    length = across.high - across.low
    days = 86_400.0 * math.ceil(length / 864_000)
    step = next((step for step in _ROUND_TIMES_S if length / step <= 10), days)
    for number in range(math.ceil(across.low / step), int(across.high / step) + 1):
        x = across.at(number * step)
        yield svg.line(x, _TOP - 6, x, bottom + 4, "grid")
        yield svg.label(x, bottom + 18, _time_name(number * step, step) if number else "start", "middle")


def _time_name(at_s: float, step_s: float) -> str:
    if step_s < 60:
        return seconds(at_s)
    hours, minutes = divmod(round(at_s / 60), 60)
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes:02d}" if minutes else f"{hours} h"


def _marks(run: RunData, across: Axis, bottom: float) -> Iterable[str]:
    began_s = run.began_s or 0.0
    marked = [event for event in run.events if event.kind in MARKED and event.time_s is not None]
    few = len(marked) <= _MAX_LINES
    last: dict[Kind, float] = {}
    for event in marked:
        after_s = (event.time_s or began_s) - began_s
        x = across.at(after_s)
        if abs(x - last.get(event.kind, -math.inf)) >= (_NEAR if few else 2 * _NEAR):
            last[event.kind] = x
            told = f"{seconds(after_s)}: {event.text}"
            yield symbol(event.kind, x, _MARKS_Y, bottom if few else None, told[:_MAX_TOLD])
