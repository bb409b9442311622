"""How panels look: the part of Grafana's JSON that depends on the kind of panel."""

from typing import Any

from pgpo_async.metrics.dashboards.panel import Panel

GOOD, BAD, LIMIT = "green", "red", "dark-red"


def ref_id(at: int) -> str:
    """The letter of a panel's query."""
    return chr(ord("A") + at)


def visual(panel: Panel) -> dict[str, Any]:
    """`fieldConfig` and `options` of a panel."""
    if panel.kind == "stat":
        return _stat(panel)
    if panel.kind == "heatmap":
        return _heatmap(panel)
    return _curves(panel)


def _defaults(panel: Panel) -> dict[str, Any]:
    bounds = {"min": panel.least, "max": panel.most, "decimals": panel.decimals}
    return {
        "unit": panel.unit,
        "mappings": [],
        "thresholds": {"mode": "absolute", "steps": _steps(panel)},
        **{name: value for name, value in bounds.items() if value is not None},
        **({"noValue": panel.empty} if panel.empty else {}),
    }


def _steps(panel: Panel) -> list[dict[str, Any]]:
    threshold = panel.threshold
    if threshold is None:
        return [{"color": GOOD, "value": None}]
    first, then = (GOOD, BAD) if threshold.good == "below" else (BAD, GOOD)
    return [{"color": first, "value": None}, {"color": then, "value": threshold.value}]


def _curves(panel: Panel) -> dict[str, Any]:
    custom = {
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "lineWidth": 1,
        "fillOpacity": 30 if panel.stacked else 5,
        "gradientMode": "none",
        "showPoints": "auto",
        "pointSize": 4,
        # What only steps tell has gaps where there was none; an hour without is one that is meant.
        "spanNulls": 3_600_000,
        "insertNulls": False,
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        "scaleDistribution": {"type": "log", "log": 10} if panel.logarithmic else {"type": "linear"},
        "thresholdsStyle": {"mode": "dashed" if panel.threshold else "off"},
        "axisPlacement": "auto",
        "axisLabel": "",
        "hideFrom": {"legend": False, "tooltip": False, "viz": False},
    }
    return {
        "fieldConfig": {
            "defaults": {**_defaults(panel), "color": {"mode": "palette-classic"}, "custom": custom},
            "overrides": [_as_limit(at) for at, query in enumerate(panel.queries) if query.limit],
        },
        "options": {
            "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def _as_limit(at: int) -> dict[str, Any]:
    """A limit is a dashed line, and no part of a stack."""
    properties = {
        "color": {"mode": "fixed", "fixedColor": LIMIT},
        "custom.lineStyle": {"fill": "dash", "dash": [8, 8]},
        "custom.fillOpacity": 0,
        "custom.stacking": {"mode": "none", "group": "A"},
    }
    return {
        "matcher": {"id": "byFrameRefID", "options": ref_id(at)},
        "properties": [{"id": name, "value": value} for name, value in properties.items()],
    }


def _stat(panel: Panel) -> dict[str, Any]:
    return {
        "fieldConfig": {
            "defaults": {**_defaults(panel), "color": {"mode": "thresholds"}},
            "overrides": [],
        },
        "options": {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "orientation": "auto",
            "textMode": "name" if panel.names_only else "auto",
            "colorMode": "value" if panel.threshold else "none",
            "graphMode": "area" if panel.curve else "none",
            "justifyMode": "auto",
            "wideLayout": True,
        },
    }


def _heatmap(panel: Panel) -> dict[str, Any]:
    return {
        "fieldConfig": {
            "defaults": {
                **_defaults(panel),
                "custom": {
                    "scaleDistribution": {"type": "linear"},
                    "hideFrom": {"legend": False, "tooltip": False, "viz": False},
                },
            },
            "overrides": [],
        },
        "options": {
            "calculate": False,
            "cellGap": 1,
            "cellValues": {"unit": "short"},
            "color": {
                "mode": "scheme",
                "scheme": "Blues",
                "scale": "exponential",
                "exponent": 0.5,
                "fill": "dark-blue",
                "reverse": False,
                "steps": 64,
            },
            "exemplars": {"color": "rgba(255,0,255,0.7)"},
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": False},
            "yAxis": {"axisPlacement": "left", "reverse": False, "unit": panel.unit},
        },
    }
