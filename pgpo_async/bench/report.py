"""What every benchmark does around its measuring: a line of progress, a table, a file of figures."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType

from pgpo_async.contracts import ConfigError

Say = Callable[[str], None]


def measure_and_print(
    measure: Callable[[Say], dict[str, Any]],
    show: Callable[[dict[str, Any]], Iterable[RenderableType]],
    path: Path | None,
) -> None:
    """Measure, write the figures to `path`, print what `show` makes of them: lines and tables.

    Raises ConfigError, before anything is measured, for a file that could not be written.
    """
    if path is not None and not path.parent.is_dir():
        raise ConfigError(f"--json: the folder {path.parent} must exist")
    console, progress = Console(), Console(stderr=True)
    with progress.status("starting") as status:
        figures = measure(status.update)
    if path is not None:
        path.write_text(json.dumps(figures, indent=2) + "\n")
    for part in show(figures):
        console.print(part, soft_wrap=isinstance(part, str))
