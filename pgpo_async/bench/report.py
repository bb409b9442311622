"""What every benchmark does around its measuring: a line of progress, a table, a file of figures."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table

Say = Callable[[str], None]


def measure_and_print(
    measure: Callable[[Say], dict[str, Any]],
    show: Callable[[dict[str, Any]], Iterable[RenderableType]],
    path: Path | None,
) -> None:
    """Measure, write the figures to `path`, print what `show` makes of them: lines and tables."""
    console, progress = Console(), Console(stderr=True)
    with progress.status("starting") as status:
        figures = measure(status.update)
    if path is not None:
        path.write_text(json.dumps(figures, indent=2) + "\n")
    for part in show(figures):
        console.print(part, soft_wrap=isinstance(part, str))


def told_books(accounting: Mapping[str, int]) -> str:
    """Return where a run's prompts are, in a line."""
    return ", ".join(f"{count} {name}" for name, count in accounting.items())


def figures_table(first: str, *headings: str, caption: str | None = None) -> Table:
    """Return a table without rows: names on the left, under `first`, and figures under the headings."""
    drawn = Table(caption=caption, caption_justify="left")
    drawn.add_column(first, no_wrap=True)
    for heading in headings:
        drawn.add_column(heading, justify="right")
    return drawn
