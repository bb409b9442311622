"""All dashboards, every query of theirs, and which metrics they leave out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pgpo_async.metrics.dashboards import generators, health, learning, overview, pipeline
from pgpo_async.metrics.dashboards.classic import ANNOTATIONS
from pgpo_async.metrics.dashboards.panel import KNOWN, Dashboard, resolved_condition
from pgpo_async.metrics.pipeline_metrics import ACTORS, BUSY, VERSION
from pgpo_async.metrics.promql import used_names

DASHBOARDS: tuple[Dashboard, ...] = (
    overview.DASHBOARD,
    learning.DASHBOARD,
    pipeline.DASHBOARD,
    generators.DASHBOARD,
    health.DASHBOARD,
)
LEFT_OUT: Mapping[str, str] = {}
"""Metrics that no panel shows, and why."""

STAND_INS: Mapping[str, str] = {"$__rate_interval": "1m", "$__range": "1h", "$run": ".*"}
"""What a query's variables are, for whoever asks a server without Grafana."""


OF_SOME_LABELS = {metric.condition for metric in (ACTORS, BUSY, VERSION)}
"""Conditions of single label values, of none that a query asks for alone: it has data all the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Expression:
    """One query, ready to ask. It may be empty only where one of `conditions` does not hold."""

    dashboard: str
    panel: str
    expr: str
    conditions: tuple[str, ...]


def expressions(stand_ins: Mapping[str, str] = STAND_INS) -> Iterator[Expression]:
    """Every query of every panel and annotation, with its variables replaced."""
    for dashboard in DASHBOARDS:
        for row in dashboard.rows:
            for panel in row.panels:
                for query in panel.queries:
                    yield _expression(dashboard.name, panel.title, query.expr, stand_ins)
    for name, (expr, _text, _colour) in ANNOTATIONS.items():
        yield _expression("all", f"annotation {name}", expr, stand_ins, "it happened")


def _expression(
    dashboard: str, panel: str, expr: str, stand_ins: Mapping[str, str], condition: str = ""
) -> Expression:
    found = {resolved_condition(KNOWN[name]) for name in used_names(expr, KNOWN)} | {condition}
    for variable, value in stand_ins.items():
        expr = expr.replace(variable, value)
    conditions = tuple(sorted(found - OF_SOME_LABELS - {""}))
    return Expression(dashboard=dashboard, panel=panel, expr=expr, conditions=conditions)
