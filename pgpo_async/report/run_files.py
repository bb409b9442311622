"""The files of a run folder as values, whatever state they are in: torn, empty, of another version, missing.

Owns what counts as readable. Nothing here raises for what a file holds; a line or value that is not what it
should be is left out, and counted where lines are. Called by `run_data` and its parts.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MAX_OBJECT_BYTES = 64 << 20
"""Of a file that is one JSON object."""


class JsonLines:
    """Iterates over the objects of a `.jsonl` file; afterwards `num_unreadable` lines were left out."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.exists = path.is_file()
        self.num_unreadable = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        try:
            with self._path.open("rb") as file:
                for line in file:
                    found = as_object(line)
                    if found is not None:
                        yield found
                    elif line.strip():
                        self.num_unreadable += 1
        except FileNotFoundError:
            return
        except OSError:  # a folder of that name, a disk that fails in the middle
            self.num_unreadable += 1


def read_object(path: Path) -> dict[str, Any] | None:
    """Return a file's JSON object, None if there is none that can be read."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_OBJECT_BYTES:
            return None
        return as_object(path.read_bytes())
    except OSError:
        return None


def read_text(path: Path, max_characters: int) -> str | None:
    """Return a file's text, cut at `max_characters`; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(4 * max_characters).decode(errors="replace")[:max_characters]
    except OSError:
        return None


def as_object(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object in some bytes, None if they are none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def as_number(value: Any) -> float | None:
    """Return a finite number as a float; None for anything else."""
    if type(value) is float:  # almost always; a run has millions
        return value if math.isfinite(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def as_count(value: Any) -> int | None:
    """Return a whole number that is not negative; None for anything else."""
    number = as_number(value)
    return int(number) if number is not None and number >= 0 and number == int(number) else None


def as_mapping(value: Any) -> dict[str, Any]:
    """Return an object as it is, an empty one for anything else."""
    return value if isinstance(value, dict) else {}
