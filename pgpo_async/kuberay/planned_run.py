"""A run as it is to be in a cluster: everything that its manifests are made of, worked out once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pgpo_async.config.schema import RunConfig
from pgpo_async.kuberay.cluster_config import check_paths, config_in_cluster, config_text
from pgpo_async.kuberay.labels import Manifest
from pgpo_async.kuberay.memory import RunMemory, run_memory
from pgpo_async.kuberay.settings import Settings
from pgpo_async.kuberay.settings_types import as_job_name
from pgpo_async.kuberay.shape import GroupShape, group_shapes


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """One run."""

    name: str
    """The RayJob's."""
    config: RunConfig
    """As it is run in the cluster."""
    config_text: str
    settings: Settings
    shapes: list[GroupShape]
    memory: RunMemory

    def job_of(self, objects: Sequence[Manifest]) -> Manifest:
        """Return its RayJob among the objects."""
        (job,) = (found for found in objects if found["kind"] == "RayJob")
        return job

    def groups_of(self, objects: Sequence[Manifest]) -> Any:
        """Return its RayJob's worker groups, in the order of `shapes`."""
        return self.job_of(objects)["spec"]["rayClusterSpec"]["workerGroupSpecs"]


def plan_run(config: RunConfig, settings: Settings) -> PlannedRun:
    """Work out a run. Raises ConfigError for what cannot be run in a cluster."""
    shapes = group_shapes(config, settings)
    memory = run_memory(config, settings, shapes)
    inside = config_in_cluster(config)
    check_paths(inside, settings)
    return PlannedRun(
        name=settings.name or as_job_name(config.name),
        config=inside,
        config_text=config_text(inside),
        settings=settings,
        shapes=shapes,
        memory=memory,
    )
