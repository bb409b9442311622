"""A run's timeline (`trace: true`): the spans of the driver and of all actors, gathered now and then."""

from pathlib import Path

from pgpo_async.metrics.spans import Spans
from pgpo_async.metrics.timeline import TimelineWriter
from pgpo_async.orchestration.cluster import Cluster
from pgpo_async.orchestration.roll_call import take_spans

COLLECT_EVERY = 20
"""Steps between two collections: each asks every actor."""


class Tracing:
    """Does nothing where `enabled` is false, or once its file could not be written: `failure` says that."""

    def __init__(self, enabled: bool, path: Path) -> None:
        self.spans = Spans(enabled)
        self._path = path
        self._timeline = TimelineWriter(path) if enabled else None
        self.failure: str | None = None

    def step_done(self, step: int, cluster: Cluster) -> None:
        """Collect if it is time."""
        if step % COLLECT_EVERY == 0:
            self.collect(cluster)

    def collect(self, cluster: Cluster) -> None:
        """Append what all actors traced since the last time."""
        if self._timeline is None:
            return
        traced = {
            "driver": self.spans.take(),
            **take_spans(cluster.working()),
            **cluster.the_learner.take_spans(),
        }
        try:
            for actor, spans in traced.items():
                self._timeline.add(actor, spans)
        except OSError as error:
            self._give_up(error)

    def close(self) -> None:
        """End the file."""
        if self._timeline is not None:
            try:
                self._timeline.close()
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        # A trace only tells of the run: it does not end it.
        self.failure = f"{self._path.name}: is not whole: {error.strerror or error}"
        self._timeline = None
