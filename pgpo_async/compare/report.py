"""The four files of a comparison's folder.

table.md      the table, with what it says of its numbers
results.json  the same as numbers, and those of each run
plots.png     the curves
report.html   all of it in one file

Called by `runner`, after every run too: a report says what is missing.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from pgpo_async.compare.curves import RunCurves
from pgpo_async.compare.results import results_of
from pgpo_async.compare.table import as_json, markdown, rich_table
from pgpo_async.config import CompareConfig
from pgpo_async.metrics.package_versions import package_versions


def write_report(folder: Path, compare: CompareConfig, runs: Sequence[RunCurves]) -> Table:
    """Write the files into `folder`, made if need be, each whole or not at all; return the table.

    `runs` are those there are, by `curves.read_run`; a planned one that is not among them is told as missing.
    Raises ValueError for a run that was not planned, OSError.
    """
    from pgpo_async.compare.page import page
    from pgpo_async.compare.plots import draw, png, svg

    results = results_of(compare, runs)
    packages = package_versions()
    figure = draw(results)
    figures = json.dumps(as_json(results, compare, packages), indent=2, allow_nan=False)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "table.md", markdown(results).encode())
    _write(folder / "results.json", f"{figures}\n".encode())
    _write(folder / "plots.png", png(figure))
    _write(folder / "report.html", page(results, compare, svg(figure), packages).encode())
    return rich_table(results)


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    os.replace(partial, path)
