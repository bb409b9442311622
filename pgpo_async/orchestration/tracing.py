"""A run's timeline (`trace: true`): the spans of the driver and of all actors, gathered now and then."""

from pathlib import Path

from pgpo_async.metrics.spans import Spans
from pgpo_async.metrics.timeline import TimelineWriter
from pgpo_async.orchestration.cluster import Cluster

COLLECT_EVERY = 20
"""Steps between two collections: each asks every actor."""


class Tracing:
    """Does nothing where `enabled` is false."""

    def __init__(self, enabled: bool, path: Path) -> None:
        self.spans = Spans(enabled)
        self._timeline = TimelineWriter(path) if enabled else None

    def step_done(self, step: int, cluster: Cluster) -> None:
        """Collect if it is time."""
        if step % COLLECT_EVERY == 0:
            self.collect(cluster)

    def collect(self, cluster: Cluster) -> None:
        """Append what all actors traced since the last time."""
        if self._timeline is None:
            return
        self._timeline.add("driver", self.spans.take())
        for actor, spans in cluster.take_spans().items():
            self._timeline.add(actor, spans)

    def close(self) -> None:
        """End the file."""
        if self._timeline is not None:
            self._timeline.close()
