"""What happened, as small signs in charts: each kind its own shape, so that colour is not needed.

Owns the signs, their key, and the marks that all charts over steps share. Called by `stage_timeline`, and by
`report_page` for the charts over steps.
"""

import math
from collections.abc import Iterable

from pgpo_async.report import svg
from pgpo_async.report.chart_frame import BOTTOM, TOP, step_axis
from pgpo_async.report.html_parts import text
from pgpo_async.report.run_data import RunData
from pgpo_async.report.run_events import MARKED, Kind, steps_at
from pgpo_async.report.thinning import Buckets

_MAX_LINES = 40
"""With more marks than that only their signs are drawn, without a line through the chart."""

_NEAR = 6.0
"""Signs of one kind that are nearer to each other are one."""

_SHAPES = {
    Kind.DEATH: "M-4 -4L4 4M-4 4L4 -4",
    Kind.RESTART: "M-4 4L0 -4L4 4Z",
    Kind.ROLLBACK: "M4 -4L-4 0L4 4Z",
    Kind.RESUME: "M-4 -4L4 0L-4 4Z",
    Kind.SKIPPED: "M0 -4.5L4.5 0L0 4.5L-4.5 0Z",
    Kind.WARNING: "M0 -4.5V1.5M0 3.2V4.7",
}


def symbol(kind: Kind, x: float, y: float, bottom: float | None = None, told: str = "") -> str:
    """Return a kind's sign, with a line down to `bottom` if given."""
    down = "" if bottom is None else svg.line(x, y + 7, x, bottom, "mark-line")
    title = f"<title>{text(told)}</title>" if told else ""
    name = kind.name.lower()
    return (
        f'<g class="mark {name}">{down}'
        f'<path transform="translate({svg.place(x)} {svg.place(y)})" d="{_SHAPES[kind]}"/>{title}</g>'
    )


def marks_key(kinds: Iterable[Kind]) -> str:
    """Return what the signs mean, of those that are there."""
    items = [
        f'<li><svg class="sign" viewBox="-7 -7 14 14" aria-hidden="true">{symbol(kind, 0, 0)}</svg>'
        f"{text(kind.value)}</li>"
        for kind in MARKED
        if kind in set(kinds)
    ]
    return f'<ul class="legend marks">{"".join(items)}</ul>' if items else ""


def step_marks(run: RunData, buckets: Buckets) -> tuple[str, set[Kind]]:
    """Return the marks that charts over steps use by the id `step-marks`, and their kinds."""
    timed: list[tuple[float, Kind]] = [
        (event.time_s, event.kind)
        for event in run.events
        if event.kind in MARKED and event.kind != Kind.SKIPPED and event.time_s is not None
    ]
    steps = steps_at(run.steps, [time_s for time_s, _ in timed])
    # Without any step's time there are no places.
    found: list[tuple[int, Kind]] = list(zip(steps, [kind for _, kind in timed], strict=False))
    skipped = run.steps.steps[run.steps.column("learner/skipped_step") > 0]
    found += [(int(step), Kind.SKIPPED) for step in skipped]
    found += [(step, Kind.ROLLBACK) for step in run.undone]
    across = step_axis(buckets)
    near = _NEAR if len(found) <= _MAX_LINES else 2 * _NEAR
    placed: list[tuple[float, Kind]] = []
    for kind in MARKED:
        last = -math.inf
        for place in sorted(across.at(step) for step, its_kind in found if its_kind == kind):
            if place - last >= near:
                placed.append((place, kind))
                last = place
    bottom = BOTTOM if len(placed) <= _MAX_LINES else None
    signs = "".join(symbol(kind, x, TOP - 9, bottom) for x, kind in placed)
    markup = (
        f'<svg class="store" width="0" height="0" aria-hidden="true"><defs><g id="step-marks">{signs}</g>'
        "</defs></svg>"
    )
    return markup, {kind for _, kind in found}
