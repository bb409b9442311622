"""A dashboard as Grafana's Classic JSON, for the file provisioning of versions 10 and 11.

No `id`, and a `uid` that stays. Every panel and variable takes its datasource from a variable, so the files
fit any Grafana that has a Prometheus.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pgpo_async.metrics import health_metrics as health
from pgpo_async.metrics import pipeline_metrics as pipeline
from pgpo_async.metrics.dashboards.panel import RUNS, Dashboard, Panel, Query, Row
from pgpo_async.metrics.dashboards.visual import ref_id, visual

SCHEMA = 39
"""Grafana 10.4's and 11's; older ones take what they know of it."""
TAG = "pgpo-async"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
RUN_QUERY = f"label_values({pipeline.RUN.name}, run)"

ANNOTATIONS: Mapping[str, tuple[str, str, str]] = {
    "Restarts": (f"{RUNS.increase(health.RESTARTS, 'role')} > 0", "{{role}} of {{run}} replaced", "orange"),
    "Steps undone": (f"{RUNS.increase(health.ROLLED_BACK)} > 0", "{{run}} went back to a checkpoint", "red"),
}
"""What is marked on all panels: query, text, colour."""


def as_text(dashboard: Dashboard) -> str:
    """The file of a dashboard."""
    return json.dumps(as_json(dashboard), indent=1, ensure_ascii=False) + "\n"


def as_json(dashboard: Dashboard) -> dict[str, Any]:
    """Return the dashboard as Grafana's object."""
    return {
        "uid": f"pgpo-{dashboard.name}",
        "title": f"pgpo-async / {dashboard.title}",
        "description": dashboard.about,
        "tags": [TAG],
        "schemaVersion": SCHEMA,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,  # a shared crosshair
        "fiscalYearStartMonth": 0,
        "weekStart": "",
        "timezone": "browser",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {},
        "refresh": "30s",
        "links": [_links()],
        "templating": {"list": [_source_variable(), _run_variable()]},
        "annotations": {"list": [_built_in(), *(_annotation(name) for name in ANNOTATIONS)]},
        "panels": list(_panels(dashboard)),
    }


def _panels(dashboard: Dashboard) -> Iterator[dict[str, Any]]:
    number, top = 0, 0
    for row in dashboard.rows:
        if row.title:
            number += 1
            yield _heading(row, number, top)
            top += 1
        left = 0
        for panel in row.panels:
            number += 1
            place = {"h": row.height, "w": panel.width, "x": left, "y": top}
            yield _panel(panel, number, place)
            left += panel.width
        top += row.height


def _heading(row: Row, number: int, top: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": "row",
        "title": row.title,
        "collapsed": False,
        "gridPos": {"h": 1, "w": 24, "x": 0, "y": top},
        "panels": [],
    }


def _panel(panel: Panel, number: int, place: Mapping[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": dict(place),
        "targets": [_target(panel, query, at) for at, query in enumerate(panel.queries)],
        **visual(panel),
    }


def _target(panel: Panel, query: Query, at: int) -> dict[str, Any]:
    names_runs = "by (run" in query.expr
    at_once = panel.kind == "stat" and not panel.curve
    return {
        "refId": ref_id(at),
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "format": "heatmap" if panel.kind == "heatmap" else "time_series",
        "instant": at_once,
        "range": not at_once,
        "legendFormat": f"{query.legend} · {{{{run}}}}" if names_runs else query.legend,
    }


def _links() -> dict[str, Any]:
    """The other dashboards, found by their tag: an address would not hold where Grafana has a prefix."""
    return {
        "type": "dashboards",
        "tags": [TAG],
        "title": "pgpo-async",
        "asDropdown": False,
        "includeVars": True,
        "keepTime": True,
        "targetBlank": False,
        "icon": "external link",
        "tooltip": "",
        "url": "",
    }


def _source_variable() -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Prometheus",
        "type": "datasource",
        "query": "prometheus",
        "regex": "",
        "refresh": 1,
        "current": {},
        "options": [],
        "hide": 0,
        "includeAll": False,
        "multi": False,
        "skipUrlSync": False,
    }


def _run_variable() -> dict[str, Any]:
    return {
        "name": "run",
        "label": "Run",
        "type": "query",
        "datasource": SOURCE,
        "definition": RUN_QUERY,
        "query": {"qryType": 1, "query": RUN_QUERY, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "regex": "",
        "refresh": 2,  # also when the time range changes: it decides which runs there are
        "sort": 2,  # a run's name ends with its time, so of each name the newest comes first
        "current": {},
        "options": [],
        "hide": 0,
        "includeAll": False,
        "multi": True,
        "skipUrlSync": False,
    }


def _built_in() -> dict[str, Any]:
    return {
        "builtIn": 1,
        "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        "enable": True,
        "hide": True,
        "iconColor": "rgba(0, 211, 255, 1)",
        "name": "Annotations & Alerts",
        "type": "dashboard",
    }


def _annotation(name: str) -> dict[str, Any]:
    expr, text, colour = ANNOTATIONS[name]
    return {
        "name": name,
        "datasource": SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "expr": expr,
        "step": "60s",
        "titleFormat": name,
        "textFormat": text,
        "tagKeys": "run",
        "useValueForTime": False,
    }
