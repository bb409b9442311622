"""`pgpo-async report RUN`: reads a run's folder and writes the page; nothing heavy before it runs."""

import os
from pathlib import Path
from typing import Annotated

import typer

from pgpo_async.told import told_in_a_line

NAME = "report.html"


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, of a run under way too.")],
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the page here.  [default: RUN/report.html]")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """One HTML file of a run: figures, curves, stages, events, samples. It needs no network."""
    with told_in_a_line():
        path = write_report(run, output)
        typer.echo(path)
        if open_page:
            typer.launch(path.absolute().as_uri())


def write_report(run: Path, output: Path | None = None) -> Path:
    """Write the page of a run's folder, whole or not at all; return where. Raises ConfigError."""
    from pgpo_async.report.report_page import report_page
    from pgpo_async.report.run_data import read_run_data
    from pgpo_async.report.samples import read_samples
    from pgpo_async.report.trace_window import read_window

    data = read_run_data(run.absolute())
    page = report_page(data, read_samples(data.folder), read_window(data.folder / "timeline.json"))
    path = output or data.folder / NAME
    write_page(path, page)
    return path


def write_page(path: Path, page: str) -> None:
    """Write a page. Raises ConfigError where that cannot be."""
    from pgpo_async.contracts import ConfigError

    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(page, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ConfigError(
            f"--output: {path} cannot be written: {error.strerror}; choose a file you may write"
        ) from error
