"""The run's metrics as Ray's own, for clusters whose Prometheus scrapes Ray's ports and nothing else.

Ray adds `ray_` to the names and a label for the process; histograms are left to our own exporter.
"""

from typing import Any

from ray.util import metrics as ray_metrics

from pgpo_async.metrics.board import Board


class RayMirror:
    """Copies a board's values, as they are now, at each `copy`."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._made: dict[str, Any] = {}
        self._counted: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}

    def copy(self) -> None:
        """Copy all."""
        for kind, name, labels, value in self._board.samples():
            if kind == "gauge":
                self._series(ray_metrics.Gauge, name, labels).set(value, tags=dict(labels))
            elif kind == "counter":
                key = name, tuple(sorted(labels.items()))
                grown, self._counted[key] = value - self._counted.get(key, 0.0), value
                if grown > 0:
                    self._series(ray_metrics.Counter, name, labels).inc(grown, tags=dict(labels))

    def _series(self, kind: Any, name: str, labels: Any) -> Any:
        if name not in self._made:
            # Ray ends counters with _total by itself.
            self._made[name] = kind(name.removesuffix("_total"), tag_keys=tuple(labels))
        return self._made[name]
