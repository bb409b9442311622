"""The check that a data file has the columns we read, with a hint at the nearest name where it has not."""

import difflib
from collections.abc import Sequence
from pathlib import Path

from pgpo_async.contracts import ConfigError
from pgpo_async.data.rows import COLUMNS


def check_columns(path: Path, found: Sequence[str]) -> None:
    """Raise ConfigError with one line for each column of `images`, `problem`, `answer` that is missing."""
    missing = [name for name in COLUMNS if name not in found]
    if missing:
        raise ConfigError([f"{path} must have a column {name!r}, {_hint(name, found)}" for name in missing])


def _hint(name: str, found: Sequence[str]) -> str:
    others = [column for column in found if column not in COLUMNS]
    near = difflib.get_close_matches(name, others, n=1)
    return f"got {sorted(found)}" + (f": did you mean to rename {near[0]!r}?" if near else "")
