"""`rules.yaml` for Prometheus, made of the alerts. Made twice it is the same, to the byte."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from pgpo_async.metrics.alerts import health_alerts, learning_alerts, pipeline_alerts, resource_alerts
from pgpo_async.metrics.alerts.alert import Alert, as_template

RUNBOOK = "k8s/README.md"
"""Where the runbook is, unless the caller has it elsewhere: a path or URL."""
HEAD = "# Written by `pgpo-async monitoring`; change the alerts in pgpo_async/metrics/alerts.\n"

GROUPS: Mapping[str, Sequence[Alert]] = {
    "pgpo-pipeline": pipeline_alerts.ALERTS,
    "pgpo-learning": learning_alerts.ALERTS,
    "pgpo-health": health_alerts.ALERTS,
    "pgpo-resources": resource_alerts.ALERTS,
}
ALERTS: Mapping[str, Alert] = {alert.name: alert for alerts in GROUPS.values() for alert in alerts}
assert len(ALERTS) == sum(map(len, GROUPS.values())), "an alert's name is taken twice"


def runbook_url(alert: Alert, runbook: str = RUNBOOK) -> str:
    """Where the alert's entry is: headings become anchors in lower case."""
    return f"{runbook}#{alert.name.lower()}"


def rules_yaml(runbook: str = RUNBOOK) -> str:
    """The whole file."""
    groups = [
        {"name": name, "rules": [_rule(alert, runbook) for alert in alerts]}
        for name, alerts in GROUPS.items()
    ]
    text: str = yaml.dump(
        {"groups": groups}, Dumper=_Dumper, sort_keys=False, width=10_000, default_flow_style=False
    )
    return HEAD + text


def _rule(alert: Alert, runbook: str) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.lasting,
        "labels": {"severity": alert.severity},
        "annotations": {
            "summary": as_template(alert.summary),
            "description": as_template(alert.description),
            "runbook_url": runbook_url(alert, runbook),
        },
    }


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)
