"""`timeline.json`: every actor's spans in the Trace Event format, which Perfetto and chrome://tracing open.

Owns the file. Events are appended as they come, so a long run needs no memory for them; the file is whole
after `close`, and readable before: both programs take an array without its end. Called by the run.
Format: "Trace Event Format" of the Chromium project (complete events `X`, metadata events `M`).
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pgpo_async.metrics.spans import Span


class TimelineWriter:
    """One row of the picture an actor, one line in it a lane."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._file.write("[")
        self._num_events = 0
        self._actors: dict[str, int] = {}
        self._lanes: set[tuple[str, int]] = set()

    def add(self, actor: str, spans: Iterable[Span]) -> None:
        """Append an actor's spans, in any order."""
        for span in spans:
            self._write(
                {
                    "ph": "X",
                    "name": span.name,
                    "cat": actor.split("-")[0],
                    "pid": self._row(actor),
                    "tid": self._line(actor, span.lane),
                    "ts": round(span.start_s * 1e6),  # microseconds, as the format wants it
                    "dur": round(span.duration_s * 1e6),
                    "args": span.details,
                }
            )
        self._file.flush()

    def close(self) -> None:
        """End the file; closing again does nothing."""
        if not self._file.closed:
            self._file.write("\n]\n")
            self._file.close()

    def _row(self, actor: str) -> int:
        if actor not in self._actors:
            self._actors[actor] = len(self._actors) + 1
            self._name("process_name", actor, pid=self._actors[actor], tid=0)
        return self._actors[actor]

    def _line(self, actor: str, lane: int) -> int:
        if (actor, lane) not in self._lanes:
            self._lanes.add((actor, lane))
            self._name("thread_name", f"lane {lane}", pid=self._row(actor), tid=lane)
        return lane

    def _name(self, what: str, name: str, *, pid: int, tid: int) -> None:
        self._write({"ph": "M", "name": what, "pid": pid, "tid": tid, "args": {"name": name}})

    def _write(self, event: dict[str, Any]) -> None:
        self._file.write((",\n" if self._num_events else "\n") + json.dumps(event))
        self._num_events += 1
