"""What a run keeps in host memory: staged weights, the learner's snapshots, the object store.

By the rules of `actors.staging`, `learner.publisher`, `actors.weight_store` and the queue's bounds.
"""

import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.service_times import ServiceTimes

SHARED_MEMORY = Path("/dev/shm")


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedMemory:
    """Bytes, at their peak."""

    model_bytes: int
    """One version of the weights."""
    group_bytes: int
    """One group in the object store."""
    staged_bytes: int
    """In /dev/shm of each node with generators or scorers: the versions kept and the one being written."""
    snapshot_bytes: int
    """In the learner's first rank: its snapshots, and the version being sent as it is packed."""
    queue_bytes: int
    """In the object store: a group for each admission slot, unless queue.max_bytes allows fewer."""
    weight_store_bytes: int
    """In the object store: the versions kept and the one arriving."""

    @property
    def object_store_bytes(self) -> int:
        """Groups and weights together."""
        return self.queue_bytes + self.weight_store_bytes

    def as_json(self) -> dict[str, int]:
        """Return all of them, by name."""
        return {**asdict(self), "object_store_bytes": self.object_store_bytes}


def plan_memory(
    config: RunConfig, times: ServiceTimes, *, step_s: float, group_bytes: int, model_bytes: int
) -> PlannedMemory:
    """Return what the run keeps when a step takes `step_s` seconds."""
    # One is being sent, one waits, one is being filled; a publication that ends in time frees its own.
    num_snapshots = 1 + min(2, int(times.publish_s / step_s))
    versions = config.weights.keep_versions + 1
    return PlannedMemory(
        model_bytes=model_bytes,
        group_bytes=group_bytes,
        staged_bytes=versions * model_bytes,
        snapshot_bytes=(num_snapshots + 1) * model_bytes,
        queue_bytes=min(config.max_slots * group_bytes, max(config.queue.max_bytes, group_bytes)),
        weight_store_bytes=versions * model_bytes,
    )


def memory_warnings(config: RunConfig, memory: PlannedMemory) -> Iterator[str]:
    """Yield what does not fit, as far as it is known here: nothing is, of a cluster that is joined."""
    batch_bytes = config.train.groups_per_step * memory.group_bytes
    all_bytes = config.max_slots * memory.group_bytes
    if config.queue.max_bytes < batch_bytes:
        yield (
            f"queue.max_bytes {config.queue.max_bytes:,} is below a batch: {config.train.groups_per_step} "
            f"groups take {batch_bytes:,} bytes, so no batch ever fills"
        )
    elif config.queue.max_bytes < all_bytes:
        yield (
            f"queue.max_bytes {config.queue.max_bytes:,} is below what admission lets in: "
            f"{config.max_slots} groups take {all_bytes:,} bytes, so generators wait for room"
        )
    if config.ray.address is not None:
        return
    store_bytes = config.ray.object_store_bytes
    if store_bytes is not None and store_bytes < memory.object_store_bytes:
        yield (
            f"ray.object_store_bytes {store_bytes:,} is below the {memory.object_store_bytes:,} bytes that "
            f"the run may keep there: {memory.queue_bytes:,} of groups, {memory.weight_store_bytes:,} of "
            "weights; what does not fit goes to disk"
        )
    if SHARED_MEMORY.is_dir():
        shared_bytes = shutil.disk_usage(SHARED_MEMORY).total
        asked = memory.staged_bytes + (store_bytes or memory.object_store_bytes)
        if asked > shared_bytes:
            yield (
                f"weights.keep_versions {config.weights.keep_versions}: staged weights "
                f"({memory.staged_bytes:,} bytes) and object store need {asked:,} bytes of {SHARED_MEMORY}, "
                f"which has {shared_bytes:,}"
            )
