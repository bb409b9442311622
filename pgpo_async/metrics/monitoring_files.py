"""What a monitoring system takes of this program: Grafana's dashboards and Prometheus's rules, as files."""

from collections.abc import Mapping
from pathlib import Path

from pgpo_async.contracts import ConfigError
from pgpo_async.metrics.alerts.rules_file import RUNBOOK, rules_yaml
from pgpo_async.metrics.dashboards.catalogue import DASHBOARDS
from pgpo_async.metrics.dashboards.classic import as_text

RULES = "rules.yaml"
FOLDER = "dashboards"


def monitoring_texts(runbook: str = RUNBOOK) -> dict[str, str]:
    """Each file's text by its path; always the same bytes."""
    pages = {f"{FOLDER}/{dashboard.name}.json": as_text(dashboard) for dashboard in DASHBOARDS}
    return {**pages, RULES: rules_yaml(runbook)}


def write_monitoring(folder: Path, runbook: str = RUNBOOK) -> list[Path]:
    """Write dashboards and rules into `folder`; return the files. Raises ConfigError where that cannot be."""
    return write_texts(folder, monitoring_texts(runbook))


def write_texts(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write texts below a folder, by their paths; return the files. Raises ConfigError, as above."""
    written = []
    for name, text in texts.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"{path} cannot be written: {error.strerror or error}; choose a folder you may write"
            ) from error
        written.append(path)
    return written
