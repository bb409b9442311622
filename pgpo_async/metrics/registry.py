"""All metrics of the program, each declared once. Dashboards, alerts and their checks read this list."""

from collections.abc import Mapping
from types import ModuleType

from pgpo_async.metrics import health_metrics, learning_metrics, pipeline_metrics, resource_metrics
from pgpo_async.metrics.metric import Metric


def _declared(module: ModuleType) -> tuple[Metric, ...]:
    return tuple(value for value in vars(module).values() if isinstance(value, Metric))


BY_ROOM: Mapping[str, tuple[Metric, ...]] = {
    "learning": _declared(learning_metrics),
    "pipeline": _declared(pipeline_metrics),
    "health": _declared(health_metrics),
    "resources": _declared(resource_metrics),
}
REGISTRY: Mapping[str, Metric] = {metric.name: metric for room in BY_ROOM.values() for metric in room}
assert len(REGISTRY) == sum(map(len, BY_ROOM.values())), "a name is declared twice"
