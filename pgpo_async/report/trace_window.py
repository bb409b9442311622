"""A few seconds out of `timeline.json`, from the middle of the run.

Owns the reading of a trace that may be gigabytes, torn or without its end: of a large one only its head,
which names the actors, and its middle. Drawn by `gantt`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from pgpo_async.report.run_files import as_count, as_mapping, as_number

MAX_READ_BYTES = 32 << 20
HEAD_BYTES = 2 << 20
MAX_SPANS = 1500
WINDOW_STEPS = 4
"""So many optimizer steps are shown, if they are neither too short nor too long to look at."""
SHORTEST_S, LONGEST_S = 1.0, 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceSpan:
    """What an actor did in one of its lanes; `start_s` since the epoch."""

    actor: str
    lane: int
    name: str
    start_s: float
    duration_s: float
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceWindow:
    """The spans that touch [start_s, end_s], in the order of actors and time."""

    start_s: float
    end_s: float
    spans: Sequence[TraceSpan]


def read_window(path: Path) -> TraceWindow | None:
    """Return the middle of a trace, None where there is none that can be read."""
    try:
        spans = _spans(path)
    except OSError:
        return None
    if not spans:
        return None
    spans.sort(key=lambda span: span.start_s)
    # Of what was read; a long-lived span does not move the middle.
    middle = spans[len(spans) // 2].start_s
    length = min(max(WINDOW_STEPS * _step_s(spans), SHORTEST_S), LONGEST_S)
    while True:
        start_s, end_s = middle - length / 2, middle + length / 2
        inside = [s for s in spans if s.start_s < end_s and s.start_s + s.duration_s > start_s]
        if len(inside) <= MAX_SPANS or length < 0.01:
            break
        length /= 2
    ordered = sorted(inside[:MAX_SPANS], key=lambda span: (_rank(span.actor), span.lane, span.start_s))
    return TraceWindow(start_s=start_s, end_s=end_s, spans=ordered)


def _spans(path: Path) -> list[TraceSpan]:
    names: dict[Any, str] = {}
    spans = []
    for event in _events(path):
        arguments = as_mapping(event.get("args"))
        if event.get("ph") == "M" and event.get("name") == "process_name":
            names[str(event.get("pid"))] = str(arguments.get("name"))[:80]
        start, duration = as_number(event.get("ts")), as_number(event.get("dur"))
        if event.get("ph") != "X" or start is None or duration is None or duration < 0:
            continue
        pid = str(event.get("pid"))
        spans.append(
            TraceSpan(
                actor=names.get(pid, f"{event.get('cat', 'actor')} ({pid})")[:80],
                lane=min(as_count(event.get("tid")) or 0, 10_000),
                name=str(event.get("name"))[:80],
                start_s=start / 1e6,
                duration_s=duration / 1e6,
                details=arguments,
            )
        )
    return spans


def _events(path: Path) -> Iterator[dict[str, Any]]:
    """The writer puts one event on a line; a line that is none is left out."""
    size = path.stat().st_size
    with path.open("rb") as file:
        pieces = [(0, MAX_READ_BYTES)]
        if size > MAX_READ_BYTES:
            pieces = [
                (0, HEAD_BYTES),
                ((size - MAX_READ_BYTES + HEAD_BYTES) // 2, MAX_READ_BYTES - HEAD_BYTES),
            ]
        for number, (start, length) in enumerate(pieces):
            file.seek(start)
            lines = file.read(length).split(b"\n")
            for line in lines[1:] if number else lines:
                try:
                    event = json.loads(line.strip().lstrip(b"[").rstrip(b",]"))
                except (ValueError, RecursionError):
                    continue
                # Of a large file's head only the names: its spans are not of the middle.
                if isinstance(event, dict) and (len(pieces) == 1 or number or event.get("ph") == "M"):
                    yield event


def _step_s(spans: Sequence[TraceSpan]) -> float:
    begins = [span.start_s for span in spans if span.name == "train"]
    gaps = sorted(b - a for a, b in pairwise(begins))
    return gaps[len(gaps) // 2] if gaps else 2.0


def _rank(actor: str) -> tuple[int, str]:
    """Along the pipe, the driver first."""
    roles = ("driver", "generator", "reward", "scorer", "learner")
    role = next((number for number, role in enumerate(roles) if actor.startswith(role)), len(roles))
    return role, actor
