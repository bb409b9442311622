"""What an actor did when: named spans of wall-clock time, kept until the timeline takes them.

Owns the recording in one process. Off, it costs a function call. The driver collects the spans of all actors
and `timeline` writes them.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

MAX_SPANS = 100_000
"""Kept between two collections; beyond it the oldest go."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """`start_s` is wall-clock time since the epoch; spans that overlap in an actor have different lanes."""

    name: str
    start_s: float
    duration_s: float
    lane: int = 0
    details: dict[str, str | int | float] = field(default_factory=dict)


class Spans:
    """Records spans where `enabled`; any thread may. A span that has not ended is not there yet."""

    def __init__(self, enabled: bool) -> None:
        self._enabled = enabled
        self._spans: deque[Span] = deque(maxlen=MAX_SPANS)
        self._lanes: set[int] = set()
        self._lock = threading.Lock()

    @contextmanager
    def span(self, name: str, **details: str | int | float) -> Iterator[None]:
        """Record what happens inside, however it ends."""
        if not self._enabled:
            yield
            return
        lane = self._enter()
        start_s, began = time.time(), time.perf_counter()
        try:
            yield
        finally:
            duration_s = time.perf_counter() - began
            with self._lock:
                self._lanes.discard(lane)
                self._spans.append(
                    Span(name=name, start_s=start_s, duration_s=duration_s, lane=lane, details=details)
                )

    def take(self) -> list[Span]:
        """Return the spans that ended since the last call."""
        with self._lock:
            spans = list(self._spans)
            self._spans.clear()
            return spans

    def _enter(self) -> int:
        with self._lock:
            lane = next(lane for lane in range(len(self._lanes) + 1) if lane not in self._lanes)
            self._lanes.add(lane)
            return lane
