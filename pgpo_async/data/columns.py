"""The columns we read of a data set, under whichever names it has them; what is missing is told with a hint.

Called by the row readers.
"""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pgpo_async.config.inputs import ColumnsConfig
from pgpo_async.contracts import ConfigError

ALL_BLOCKS = 1 << 30
"""A reader's `window` where reading a row costs a row: all of its blocks can be shuffled among each other."""


def names(columns: ColumnsConfig) -> list[str]:
    """Return the data set's names of the columns, each once."""
    return list(dict.fromkeys(columns.model_dump().values()))


def renamed(row: Mapping[str, Any], columns: ColumnsConfig) -> dict[str, Any]:
    """Return a row's `images`, `problem`, `answer`; None for what it lacks."""
    return {ours: row.get(theirs) for ours, theirs in columns.model_dump().items()}


def check_columns(where: str, found: Sequence[str], columns: ColumnsConfig) -> None:
    """Raise ConfigError with one line for each column that is missing."""
    wanted = columns.model_dump()
    others = sorted(set(found) - set(wanted.values()))
    missing = {ours: theirs for ours, theirs in wanted.items() if theirs not in found}
    if missing:
        raise ConfigError(
            [
                f"{where} must have a column {theirs!r}, got {sorted(found)}{_hint(ours, theirs, others)}"
                for ours, theirs in missing.items()
            ]
        )


def _hint(ours: str, theirs: str, others: Sequence[str]) -> str:
    near = difflib.get_close_matches(theirs, others, n=1)
    return f": did you mean {near[0]!r}? (columns: {{{ours}: {near[0]}}})" if near else ""
