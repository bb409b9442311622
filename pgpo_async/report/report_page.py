"""The report: a run as one HTML file that needs nothing else.

Owns the order of what is shown: problems and key figures first, then curves, stages, lags and rewards, the
books, events, samples, the config. Called by `report_command`.
"""

from collections.abc import Mapping

from pgpo_async.metrics.package_versions import package_versions
from pgpo_async.report import tables
from pgpo_async.report.chart_frame import step_axis_data
from pgpo_async.report.curves import curve_sections, sections_markup
from pgpo_async.report.event_marks import marks_key, step_marks
from pgpo_async.report.formats import plural
from pgpo_async.report.gantt import gantt
from pgpo_async.report.heat_maps import lag_bars, lag_map, map_buckets, reward_map
from pgpo_async.report.html_parts import data_block, document, text
from pgpo_async.report.page_head import page_head
from pgpo_async.report.page_script import SCRIPT
from pgpo_async.report.page_style import page_style
from pgpo_async.report.run_data import RunData
from pgpo_async.report.run_files import as_mapping
from pgpo_async.report.sample_cards import sample_cards
from pgpo_async.report.samples import Samples
from pgpo_async.report.stage_timeline import stage_timeline, time_axis_data
from pgpo_async.report.stage_times import pieces_of
from pgpo_async.report.thinning import buckets_of
from pgpo_async.report.trace_window import TraceWindow

_NO_TRACE = "There is no timeline.json that can be read: with trace=true a run records what every actor did."


def report_page(run: RunData, samples: Samples, window: TraceWindow | None) -> str:
    """Return the whole file. `window` is a part of the run's trace, where it has one."""
    buckets = buckets_of(run.steps.steps)
    marks, kinds = step_marks(run, buckets)
    curves, left_out = curve_sections(run, buckets)
    pieces = pieces_of(run)
    timeline = stage_timeline(run, pieces) if pieces else None
    coarse = map_buckets(run.steps.steps)
    spreads = [chart for chart in (lag_bars(run), lag_map(run, coarse), reward_map(run, coarse)) if chart]
    sections = {
        "Curves": marks_key(kinds) + sections_markup(curves) + _not_measured(left_out),
        "Stages": (timeline.markup if timeline else _told("No step has a time yet."))
        + (gantt(window, run.began_s) if window else _told(_NO_TRACE)),
        "Lag and rewards": f'<div class="panels">{"".join(chart.markup for chart in spreads)}</div>'
        if spreads
        else _told("Neither lags nor rewards of groups are known."),
        "Accounting": _card(tables.accounting(run)),
        "Events": _card(tables.events(run)),
        "Samples": _samples(run, samples),
        "Config and versions": _card(tables.config(run) + _versions(run)),
    }
    charts = [*(chart for section in curves for chart in section.charts), *spreads]
    charts += [timeline] if timeline else []
    axes = {"steps": step_axis_data(buckets), "maps": step_axis_data(coarse)}
    axes |= {"time": time_axis_data(pieces)} if pieces else {}
    data = {"axes": axes, "charts": [chart.data for chart in charts if chart.data]}
    parts = [
        _navigation(sections),
        f"<main>{page_head(run)}{marks}",
        *(_section(title, content) for title, content in sections.items()),
        '<p class="spoken" id="spoken" aria-live="polite"></p></main>',
        data_block("run-data", data),
    ]
    return document(f"{run.name}: {run.status}", "\n".join(parts), style=page_style(), script=SCRIPT)


def _navigation(sections: Mapping[str, str]) -> str:
    links = "".join(f'<li><a href="#{_anchor(title)}">{text(title)}</a></li>' for title in sections)
    return f'<nav aria-label="Sections"><ul>{links}</ul></nav>'


def _section(title: str, content: str) -> str:
    return f'<section id="{_anchor(title)}"><h2>{text(title)}</h2>{content}</section>'


def _anchor(title: str) -> str:
    return f"section-{title.lower().replace(' ', '-')}"


def _samples(run: RunData, samples: Samples) -> str:
    told = []
    if samples.num_unreadable:
        told.append(f"{plural(samples.num_unreadable, 'sampled group')} could not be read.")
    if not samples.num_steps:
        told.append("The run has no samples.")
    made = zip(run.steps.steps.tolist(), run.steps.column("version").tolist(), strict=True)
    versions = {step: int(version) for step, version in made if version == version}
    return "".join(_told(line) for line in told) + sample_cards(samples, versions)


def _not_measured(titles: list[str]) -> str:
    return _told(f"Not measured in this run: {', '.join(titles)}.") if titles else ""


def _told(line: str) -> str:
    return f'<p class="muted">{text(line)}</p>'


def _card(content: str) -> str:
    return f'<div class="card">{content}</div>'


def _versions(run: RunData) -> str:
    told = as_mapping(run.summary.get("versions"))
    if told:
        found = {str(name): str(version) for name, version in told.items()}
        return tables.versions(found, "Versions, as the run told them.")
    return tables.versions(
        package_versions(),
        "Versions. The run did not tell them; these are installed where this report was made.",
    )
