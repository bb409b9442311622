"""What a dashboard is made of: rows of panels, each with its queries. Says nothing of JSON (`classic` does).

A panel's description is made of the help texts of the metrics that it shows, so it is never of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pgpo_async.metrics.dashboards.foreign import FOREIGN, Foreign
from pgpo_async.metrics.metric import Metric
from pgpo_async.metrics.promql import Queries, used_names
from pgpo_async.metrics.registry import REGISTRY

COLUMNS = 24
"""Of Grafana's grid, in which widths are counted; a row of its height is 30 pixels."""

KNOWN: Mapping[str, Metric | Foreign] = {**REGISTRY, **FOREIGN}

RUNS = Queries(matcher='run=~"$run"', window="$__rate_interval")
"""The runs that are chosen."""
RUNS_TOGETHER = Queries(matcher='run=~"$run"', identity=(), window="$__rate_interval")
"""The same, added up."""
RUNS_IN_VIEW = Queries(matcher='run=~"$run"', window="$__range")
"""The same, over all the time that is shown."""
ENGINES = Queries(identity=(), window="$__rate_interval")
"""vLLM's series, of all runs: they do not say of which they are."""

Kind = Literal["timeseries", "stat", "heatmap"]
Unit = Literal["short", "s", "bytes", "percentunit", "dateTimeFromNow", "none"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """One query; `legend` is Grafana's template, to which the run's name is added. `limit`: drawn as such."""

    expr: str
    legend: str
    limit: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Threshold:
    """Where an alert begins: good is below it, or above it."""

    value: float
    good: Literal["below", "above"] = "below"


@dataclass(frozen=True, kw_only=True, slots=True)
class Panel:
    """One panel, `width` columns wide.

    `note` begins its description; `least` and `most` bound its axis.
    """

    title: str
    unit: Unit
    queries: Sequence[Query]
    width: int
    kind: Kind = "timeseries"
    note: str = ""
    threshold: Threshold | None = None
    stacked: bool = False
    logarithmic: bool = False
    least: float | None = None
    most: float | None = None
    decimals: int | None = None
    curve: bool = False
    """A `stat` with its past behind it."""
    names_only: bool = False
    """A `stat` that shows its legend, not its value."""
    empty: str = ""
    """Shown where there is nothing to show."""

    @property
    def series(self) -> list[Metric | Foreign]:
        """What it shows, in the registry's order."""
        names = set().union(*(used_names(query.expr, KNOWN) for query in self.queries))
        return [series for name, series in KNOWN.items() if name in names]

    @property
    def description(self) -> str:
        """Its note, and the help of what it shows."""
        texts = [self.note] if self.note else []
        for series in self.series:
            condition = resolved_condition(series)
            proviso = f" Not always there: {condition}." if condition else ""
            texts.append(f"`{series.name}`: {series.help}{proviso}")
        return "\n\n".join(texts)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """Panels side by side, under a heading unless `title` is empty."""

    title: str
    height: int
    panels: Sequence[Panel]

    def __post_init__(self) -> None:
        width = sum(panel.width for panel in self.panels)
        assert width == COLUMNS, f"{self.title}: widths must add up to {COLUMNS}, got {width}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Dashboard:
    """One dashboard; `name` is its file's and the end of its address."""

    name: str
    title: str
    about: str
    rows: Sequence[Row]


def resolved_condition(series: Metric | Foreign) -> str:
    """When there is no sample of it; "as pgpo_x" is what pgpo_x says."""
    condition = series.condition
    if condition.startswith("as "):
        return REGISTRY[condition.removeprefix("as ")].condition
    return condition


def curves(legend: str, expr: str) -> tuple[Query, ...]:
    """A panel's only query."""
    return (Query(expr=expr, legend=legend),)


def held_of_limit(metric: Metric) -> tuple[Query, ...]:
    """What is held, and how much may be."""
    return (
        Query(expr=RUNS.now(metric, kind="held"), legend="held"),
        Query(expr=RUNS.now(metric, kind="limit"), legend="limit", limit=True),
    )


def used_share(metric: Metric, *by: str) -> str:
    """Of what there is."""
    return f"{RUNS.now(metric, *by, kind='used')} / {RUNS.now(metric, *by, kind='limit')}"


def in_width(panel: Panel, width: int) -> Panel:
    """The same panel for another dashboard."""
    return replace(panel, width=width)
