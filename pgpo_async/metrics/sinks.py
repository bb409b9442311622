"""Tells trackers (`trackers`) of steps and samples, from a thread of its own.

So one that is slow or down holds up no step: what does not fit the queue is dropped and counted.
"""

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from pgpo_async.metrics.sample_rows import SampleRow, sample_rows
from pgpo_async.metrics.trackers import Sink

MAX_WAITING = 256
"""Steps and samples that wait for slow trackers."""
CLOSE_S = 60.0


class SinkWriter:
    """Tells all sinks, in order, from its thread. One that fails is told of once, and told nothing more."""

    def __init__(self, sinks: Mapping[str, Sink], say: Callable[[str], None]) -> None:
        self._sinks = dict(sinks)
        self._say = say
        self._work: queue.Queue[Callable[[Sink], None] | None] = queue.Queue(MAX_WAITING)
        self.num_dropped = 0
        self._thread = threading.Thread(target=self._run, name="trackers", daemon=True)
        if self._sinks:
            self._thread.start()

    def step(self, step: int, flat: Mapping[str, object]) -> None:
        """Send a step's line of `metrics.jsonl`: its numbers."""
        values = {name: float(value) for name, value in flat.items() if isinstance(value, int | float)}
        self._put(lambda sink: sink.step(step, values))

    def samples(self, step: int, payloads: Sequence[bytes]) -> None:
        """Send sampled groups."""
        rows: list[SampleRow] = []

        def send(sink: Sink) -> None:
            if not rows:  # decoded once, in the thread
                rows.extend(sample_rows(payloads))
            sink.samples(step, rows)

        self._put(send)

    def close(self) -> None:
        """Send what waits, within a time."""
        if not self._thread.is_alive():
            return
        with suppress(queue.Full):
            self._work.put(None, timeout=CLOSE_S)
        self._thread.join(timeout=CLOSE_S)
        if self._thread.is_alive():
            self._say(f"warning: trackers ({', '.join(self._sinks)}) did not end within {CLOSE_S:.0f} s")
        if self.num_dropped:
            self._say(f"warning: trackers were too slow, {self.num_dropped} messages to them were dropped")

    def _put(self, work: Callable[[Sink], None]) -> None:
        if not self._sinks:
            return
        try:
            self._work.put_nowait(work)
        except queue.Full:
            self.num_dropped += 1

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            self._each(work)
        self._each(lambda sink: sink.close())

    def _each(self, work: Callable[[Sink], None]) -> None:
        for name, sink in list(self._sinks.items()):
            try:
                work(sink)
            except Exception as error:  # whatever a tracker raises, the run is not its business
                del self._sinks[name]
                self._say(f"warning: {name} failed and is told nothing more: {error!r}")
