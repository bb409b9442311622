"""The curves of a comparison: one figure of six panels, as PNG and as SVG.

A thin line is a seed, a thick one the mean of a method's finished runs, the band one standard error where
there are two seeds. Matplotlib's `Figure` alone: no window, no state between figures. Called by `report`.
"""

import io
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter

from pgpo_async.compare.curves import SMOOTHED_STEPS, RunCurves, join
from pgpo_async.compare.figures import variance_ratio
from pgpo_async.compare.results import MethodResults, Results

SIZE_INCHES = (15.0, 8.5)
DOTS_PER_INCH = 120

# Okabe and Ito's colours, which most colour-blind readers tell apart, but yellow, which is pale on white. A
# marker is a second sign of the method.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^Dv<>P"

_GRID_POINTS = 100  # of the mean over time

Line = Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One set of axes: what it shows of a run, and what it is called."""

    title: str
    label: str
    line: Callable[[RunCurves], Line]
    beside: Callable[[RunCurves], Line] | None = None
    """A second line of each run, thin and dashed."""
    over_time: bool = False
    logarithmic: bool = False
    at_one: bool = False
    """Whether 1 is marked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Band:
    """A method's mean at one place, and one standard error below and above; None of a single seed."""

    at: float
    mean: float
    spread: tuple[float, float] | None


def _points(name: str) -> Callable[[RunCurves], Line]:
    return lambda run: run.points(name)


def _over_time(run: RunCurves) -> Line:
    elapsed_s = run.elapsed_s()
    return [(elapsed_s[step], value) for step, value in run.smoothed_accuracy() if step in elapsed_s]


_ACCURACY = f"training accuracy, running mean of {SMOOTHED_STEPS} steps"

PANELS = (
    Panel(title="Accuracy over steps", label=_ACCURACY, line=lambda run: run.smoothed_accuracy()),
    Panel(title="Accuracy over wall time", label=_ACCURACY, line=_over_time, over_time=True),
    Panel(title="Entropy", label="nats a token", line=_points("learner/entropy")),
    Panel(
        title="Gradient variance (dashed: the same run, unshaped)",
        label="trace of the variance",
        line=_points("learner/grad_variance"),
        beside=_points("learner/grad_variance_unshaped"),
        logarithmic=True,
    ),
    Panel(
        title="Gradient variance, shaped by unshaped",
        label="ratio",
        line=variance_ratio,
        logarithmic=True,
        at_one=True,
    ),
    Panel(title="Visual dependency", label="mean a token", line=_points("learner/dependency_mean")),
)


def draw(results: Results) -> Figure:
    """Return the figure, of finished runs only."""
    figure = Figure(figsize=SIZE_INCHES, dpi=DOTS_PER_INCH, layout="constrained")
    figure.suptitle(results.name, parse_math=False)
    for axes, panel in zip(figure.subplots(2, 3).flat, PANELS, strict=True):
        _draw_panel(axes, panel, results.methods)
    figure.legend(
        handles=[_key(results, number) for number in range(len(results.methods))],
        loc="outside lower center",
        ncols=min(4, len(results.methods)),
        frameon=False,
    )
    return figure


def png(figure: Figure) -> bytes:
    """Return the figure as a PNG file's bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def svg(figure: Figure) -> str:
    """Return the figure as an `<svg>` element: no prolog, no document type, no metadata, text as shapes."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "compare", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    element = text[text.index("<svg") :].rstrip()
    return re.sub(r"<metadata>.*?</metadata>", "", element, flags=re.DOTALL)


def _key(results: Results, number: int) -> Line2D:
    method = results.methods[number]
    colour, marker = _signs(number)
    label = f"{method.method} ({len(method.runs)} of {method.num_planned} seeds)"
    return Line2D([], [], color=colour, marker=marker, linewidth=2.5, label=label)


def _signs(number: int) -> tuple[str, str]:
    return COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]


def _draw_panel(axes: Axes, panel: Panel, methods: Sequence[MethodResults]) -> None:
    axes.set_title(panel.title, fontsize="medium")
    axes.set_ylabel(panel.label, fontsize="small")
    axes.set_xlabel("seconds since training began" if panel.over_time else "step", fontsize="small")
    drawn = [_draw_method(axes, panel, method, _signs(n)) for n, method in enumerate(methods)]
    if not any(drawn):
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", va="center")
        return
    if not panel.over_time:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if panel.logarithmic:
        axes.set_yscale("log")
    if panel.at_one:
        axes.axhline(1.0, color="grey", linewidth=0.8)
        axes.yaxis.set_major_formatter(_plain_number)
        low, high = axes.get_ylim()
        axes.yaxis.set_minor_formatter(_plain_number if high < 10 * low else NullFormatter())
    axes.grid(alpha=0.25)


def _draw_method(axes: Axes, panel: Panel, method: MethodResults, signs: tuple[str, str]) -> bool:
    """Draw the runs and their mean; return whether there was anything to draw."""
    colour, marker = signs
    lines = [line for run in method.runs if (line := _shown(panel.line(run), panel))]
    for line in lines:
        axes.plot(*zip(*line, strict=True), color=colour, linewidth=0.7, alpha=0.5)
    if panel.beside is not None:
        for run in method.runs:
            if other := _shown(panel.beside(run), panel):
                axes.plot(*zip(*other, strict=True), color=colour, linewidth=0.7, linestyle="--", alpha=0.7)
    # A run without data is not averaged over: no mean then, its siblings' lines stay.
    mean = joined(lines, panel) if len(lines) == len(method.runs) else []
    if mean:
        at, values = [band.at for band in mean], [band.mean for band in mean]
        every = max(1, len(at) // 8)
        axes.plot(at, values, color=colour, linewidth=2.2, marker=marker, markersize=4.5, markevery=every)
    spreads = [(band.at, *band.spread) for band in mean if band.spread is not None]
    if spreads:
        at, low, high = (list(part) for part in zip(*spreads, strict=True))
        axes.fill_between(at, low, high, color=colour, alpha=0.15, linewidth=0)
    return bool(lines)


def _plain_number(value: float, _: float | None) -> str:
    return f"{value:g}"


def _shown(line: Line, panel: Panel) -> Line:
    return [point for point in line if point[1] > 0] if panel.logarithmic else line


def joined(lines: Sequence[Line], panel: Panel) -> list[Band]:
    """Return mean and spread of a method's lines, those of logarithms where the axis is logarithmic.

    Over time the lines are interpolated, between the latest first point and the earliest last one.
    """
    if panel.over_time:
        lines = _on_one_grid(lines)
    if panel.logarithmic:
        lines = [[(at, math.log(value)) for at, value in line] for line in lines]
    back: Callable[[float], float] = math.exp if panel.logarithmic else float
    bands = []
    for at, found in join(lines):
        error = found.standard_error
        low, high = (found.mean - (error or 0.0), found.mean + (error or 0.0))
        spread = None if error is None else (back(low), back(high))
        bands.append(Band(at=at, mean=back(found.mean), spread=spread))
    return bands


def _on_one_grid(lines: Sequence[Line]) -> Sequence[Line]:
    if not lines:
        return []
    begin, end = max(line[0][0] for line in lines), min(line[-1][0] for line in lines)
    if begin >= end:
        return []
    grid = np.linspace(begin, end, _GRID_POINTS)
    on_grid = []
    for line in lines:
        times, values = (list(part) for part in zip(*line, strict=True))
        on_grid.append(list(zip(grid.tolist(), np.interp(grid, times, values).tolist(), strict=True)))
    return on_grid
