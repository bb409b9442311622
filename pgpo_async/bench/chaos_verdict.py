"""What a run that went through `bench chaos` must show: read from its folder, when nobody runs any more.

Owns the questions: is each prompt accounted for once, was the lag kept, has a group trained twice in the
steps that count. Nothing here knows what was struck.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from pgpo_async.actors.journal import Journal
from pgpo_async.actors.recollection import recollect


def verdict(folder: Path, num_steps: int) -> dict[str, Any]:
    """The figures of a finished run; `problems` has a line for each that is not as it must be."""
    records, undone = _lines(folder / "metrics.jsonl"), _lines(folder / "rolled_back.jsonl")
    summary = json.loads((folder / "summary.json").read_text())
    with Journal(folder / "journal", sync_s=0.0) as journal:
        state = recollect(journal.records()).state
    trained = Counter(group for record in records for group in record["groups"])
    indices = {int(group[1:]) for group in trained}
    books = state.accounting
    ended = books.filtered + books.stale + books.quarantined
    max_lag = max(record["lag_max"] for record in [*records, *undone])
    repeated = sum(trained.values()) - len(trained)
    problems = {
        "the run is completed": summary["status"] == "completed",
        "each step is there once": [record["step"] for record in records] == list(range(1, num_steps + 1)),
        "the books are balanced": summary["accounting_balanced"] and books.balanced,
        "no group trained twice": repeated == 0,
        "what trained is what the queue counted": len(indices) == books.trained,
        "no pending prompt has trained": not indices & set(state.pending),
        "each prompt is accounted for once": len(indices) + len(state.pending) + ended == state.cursor,
        "the lag is kept": max_lag <= summary["max_lag_allowed"],
        "nothing is left behind": not summary["left_behind"],
    }
    return {
        "accounted": all(holds for question, holds in problems.items() if "lag" not in question),
        "max_lag_seen": max_lag,
        "max_lag_allowed": summary["max_lag_allowed"],
        "repeated_groups": repeated,
        "rolled_back_steps": len(undone),
        "accounting": summary["accounting"],
        "problems": [question for question, holds in problems.items() if not holds],
    }


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
