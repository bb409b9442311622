"""What was quarantined, by stage and reason, with an error of each: counts from `quarantine.parquet`.

Owns the counting only. The run may be under way: what is not merged yet is in parts beside the file, which
says up to which part it goes. Images are not read. Called by `run_data`.
"""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_ERROR_CHARACTERS = 300
_COLUMNS = ("stage", "reason", "error")
_STATE = b"pgpo_async.quarantine"


@dataclass(frozen=True, kw_only=True, slots=True)
class QuarantinedKind:
    """Prompts of one stage and reason; `error` is that of the first."""

    stage: str
    reason: str
    count: int
    error: str


def read_quarantine_counts(folder: Path) -> tuple[list[QuarantinedKind], list[str]]:
    """Return the kinds, commonest first, and the names of files that could not be read."""
    counts: Counter[tuple[str, str]] = Counter()
    errors: dict[tuple[str, str], str] = {}
    unreadable = []
    merged = folder / "quarantine.parquet"
    last_part = 0
    for path in (merged, *sorted((folder / ".quarantine").glob("part-*.parquet"))):
        number = _part_number(path)
        if not path.is_file() or (number is not None and number <= last_part):
            continue
        try:
            rows, state = _rows(path)
        except Exception:  # a damaged file: Arrow raises what it likes
            unreadable.append(path.name)
            continue
        if path == merged:
            last_part = state
        for stage, reason, error in rows:
            counts[stage, reason] += 1
            errors.setdefault((stage, reason), error)
    kinds = [
        QuarantinedKind(stage=stage, reason=reason, count=count, error=errors[stage, reason])
        for (stage, reason), count in counts.most_common()
    ]
    return kinds, unreadable


def _part_number(path: Path) -> int | None:
    digits = path.stem.removeprefix("part-")
    return int(digits) if digits.isdecimal() else None


def _rows(path: Path) -> tuple[list[tuple[str, str, str]], int]:
    """Stage, reason and error of each record, and the last part that is in the file."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = [name for name in _COLUMNS if name in file.schema_arrow.names]
        columns = file.read(columns=names).to_pydict()
        state: dict[str, Any] = json.loads((file.schema_arrow.metadata or {}).get(_STATE, b"{}"))
        num_rows = file.metadata.num_rows
    texts = [[_short(value) for value in columns.get(name, [None] * num_rows)] for name in _COLUMNS]
    return list(zip(*texts, strict=True)), int(state.get("parts", 0))


def _short(value: object) -> str:
    return "not told" if value is None else " ".join(str(value).split())[:MAX_ERROR_CHARACTERS]
