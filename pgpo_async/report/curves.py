"""The charts over steps of a run: `panels` filled with what the run measured.

Owns derived figures (tokens a second), limits from the config, and what is left out. Called by `report_page`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pgpo_async.report.chart_frame import Chart, Curve
from pgpo_async.report.charts import Limit, Spot, line_chart
from pgpo_async.report.formats import share
from pgpo_async.report.html_parts import NUM_SERIES, text
from pgpo_async.report.panels import GROUPS, NOT_PARTS, Line, Panel
from pgpo_async.report.run_data import RunData
from pgpo_async.report.run_files import as_number
from pgpo_async.report.step_table import Float64Array, StepTable
from pgpo_async.report.thinning import Buckets, thinned

_FAR_ABOVE = 30.0
"""Times the median; then the axis is logarithmic."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """Charts under a heading."""

    title: str
    charts: Sequence[Chart]


def curve_sections(run: RunData, buckets: Buckets) -> tuple[list[Section], list[str]]:
    """Return the charts by question, and the titles of those of which nothing was measured."""
    sections, left_out = [], []
    for group in GROUPS:
        charts = []
        for panel in group.panels:
            chart = _chart(_filled(panel, run.steps), run, buckets)
            if chart is None:
                left_out.append(panel.title)
            else:
                charts.append(chart)
        if charts:
            sections.append(Section(title=group.title, charts=charts))
    return sections, left_out


def sections_markup(sections: Sequence[Section]) -> str:
    """Return the sections one below the other."""
    parts = []
    for section in sections:
        charts = "".join(chart.markup for chart in section.charts)
        parts.append(f'<h3 class="question">{text(section.title)}</h3><div class="panels">{charts}</div>')
    return "".join(parts)


def _filled(panel: Panel, table: StepTable) -> Panel:
    if panel.name != "reward-parts":
        return panel
    keys = [key for key in table.named("queue/") if key.removeprefix("queue/") not in NOT_PARTS]
    lines = [
        Line(key=key, label=key.removeprefix("queue/"), series=number)
        for number, key in enumerate(keys[:NUM_SERIES], start=1)
    ]
    note = f"Not shown: {', '.join(key.removeprefix('queue/') for key in keys[NUM_SERIES:])}."
    return replace(panel, lines=tuple(lines), note=note if len(keys) > NUM_SERIES else "")


def _chart(panel: Panel, run: RunData, buckets: Buckets) -> Chart | None:
    found = [(line, _values(run.steps, line.key)) for line in panel.lines]
    measured = [(line, values) for line, values in found if np.isfinite(values).any()]
    log = _is_log(panel, [values for _, values in measured])
    if log:
        measured = [(line, _positive(values)) for line, values in measured if (values > 0).any()]
    if not measured:
        return None
    curves = [
        Curve(label=line.label, values=thinned(values, buckets), series=line.series, form=panel.form)
        for line, values in measured
    ]
    return line_chart(
        panel.name,
        panel.title,
        curves,
        buckets,
        log=log,
        from_zero=panel.from_zero and not log,
        limits=_limits(panel.name, run, curves),
        spots=_held_out(run) if panel.name == "accuracy" else (),
        note=" ".join(filter(None, [panel.note, _HELD_OUT if panel.name == "accuracy" else ""])),
    )


def _values(table: StepTable, key: str) -> Float64Array:
    if key != "tokens_per_s":
        return table.column(key)
    lengths = table.column("step_s")
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        return np.where(lengths > 0, table.column("learner/num_tokens") / lengths, np.nan)


def _positive(values: Float64Array) -> Float64Array:
    return np.where(values > 0, values, np.nan)


def _is_log(panel: Panel, columns: Sequence[Float64Array]) -> bool:
    if panel.log is not None:
        return panel.log
    values = np.concatenate(
        [np.zeros(0), *(column[np.isfinite(column) & (column > 0)] for column in columns)]
    )
    return len(values) > 0 and float(values.max()) > _FAR_ABOVE * float(np.median(values))


def _limits(name: str, run: RunData, curves: Sequence[Curve]) -> list[Limit]:
    limits = {
        "lag": (run.max_lag, "bound"),
        "mismatch": (run.setting("train.guard.max_mismatch_kl"), "guard, for the engines' mismatch"),
        "capped": (run.setting("train.guard.max_capped_share"), "guard"),
        "importance": (run.setting("algorithm.is_cap"), "cap"),
        "length": (run.setting("generation.max_response_tokens"), "longest allowed"),
    }
    value, label = limits.get(name, (None, ""))
    level = as_number(value)
    if level is None or (name == "importance" and run.setting("algorithm.is_mode") != "truncate"):
        return []
    highest = max(float(np.nanmax(curve.values.high)) for curve in curves)
    # A bound far beyond what was measured would flatten the curves.
    return [Limit(value=level, label=label)] if name in ("lag", "mismatch") or level < 3 * highest else []


_HELD_OUT = "Diamonds: held-out accuracy."


def _held_out(run: RunData) -> list[Spot]:
    steps = run.steps.steps
    spots = []
    for key, step in (("accuracy_before", steps[0]), ("accuracy_after", steps[-1])):
        value = as_number(run.summary.get(key))
        if value is not None:
            told = f"held-out {key.replace('_', ' ')}: {share(value)}"
            spots.append(Spot(step=float(step), value=value, label=told))
    for at, value in run.evaluated:
        spots.append(Spot(step=float(at), value=value, label=f"held-out accuracy: {share(value)}"))
    return spots
