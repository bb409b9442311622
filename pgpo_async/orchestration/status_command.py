"""`pgpo-async status`: once, for a script, or again and again until the run ends."""

import json as json_format
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

REFRESH_S = 1.0
PIPE_WIDTH = 160


def status(
    run: Annotated[
        Path, typer.Argument(metavar="[RUN]", help="A run's folder, or one of runs: then the newest of them.")
    ] = Path("runs"),
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON, once.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Print it once; so does a pipe.")] = False,
) -> None:
    """Show how a running job stands: stages, queue, lag, versions, who waits for what, who is stuck."""
    from rich.console import Console
    from rich.live import Live

    from pgpo_async.orchestration.status_reader import NoRun, find_run, read_status
    from pgpo_async.orchestration.status_view import render

    try:
        folder = find_run(run)
    except NoRun as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from None
    if json:
        typer.echo(json_format.dumps(read_status(folder).as_json()))
        return
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    if once or not console.is_terminal:
        console.print(render(read_status(folder)), soft_wrap=not console.is_terminal)
        return
    try:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                seen = read_status(folder)
                live.update(render(seen), refresh=True)
                if seen.state == "ended":
                    return
                time.sleep(REFRESH_S)
    except KeyboardInterrupt:  # how one leaves it
        return
