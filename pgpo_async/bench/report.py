"""What every benchmark does around its measuring: a line of progress, a table, a file of figures."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

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
