"""`pgpo-async monitoring FOLDER`: writes dashboards and alert rules; nothing is made before it runs."""

from pathlib import Path
from typing import Annotated

import typer

from pgpo_async.told import told_in_a_line


def monitoring(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Made where it is not there.")],
    runbook: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where alerts point to.  [default: k8s/README.md]"),
    ] = None,
) -> None:
    """Write Grafana dashboards and Prometheus alert rules of all metrics into FOLDER."""
    with told_in_a_line():
        from pgpo_async.metrics.alerts.rules_file import RUNBOOK
        from pgpo_async.metrics.monitoring_files import write_monitoring

        for path in write_monitoring(folder, runbook or RUNBOOK):
            typer.echo(path)
