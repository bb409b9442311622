"""How much memory each pod asks for: what the planner knows of weights and groups, and a process's own.

A pod's limit holds everything: its processes, and what it keeps in /dev/shm (Ray's object store, staged
weights), which is a memory volume and counts. What processes take besides is about twice what was measured of
the demo's pods (proportional set sizes: head 1.5 GiB, generator 1.5, scorer 1.0, learner with a reward actor
1.5); `settings.ROLE.extra_memory_bytes` adds to it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.kuberay.quantities import GI
from pgpo_async.kuberay.settings import Settings
from pgpo_async.kuberay.shape import GroupShape
from pgpo_async.orchestration.doctor.sizes import (
    CHECKPOINT_BYTES,
    TRAINING_BYTES,
    num_weights,
)
from pgpo_async.orchestration.planning.peak_memory import planned_memory
from pgpo_async.orchestration.planning.plan_memory import PlannedMemory

HEAD_BYTES = 3 * GI
"""Ray's control and dashboard, driver, replay queue, weight store: their processes."""
PROCESS_BYTES: Mapping[str, int] = {
    "generator": 5 * GI // 2,
    "scorer": 3 * GI // 2,
    "learner": 3 * GI // 2,
    "reward": GI // 4,
}
"""One actor's: libraries, buffers; a generator is two processes, and starts a third."""
CUDA_BYTES = 3 * GI
"""More of one with a GPU: pinned buffers, NCCL, the driver's share."""
NODE_BYTES = 3 * GI // 4
"""Ray's own on a worker: raylet and agents."""
MIN_STORE_BYTES = 256 << 20
SHARED_SPARE = 1.1
"""Room in /dev/shm for NCCL's and torch's own files."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PodMemory:
    """Bytes of one pod."""

    object_store: int
    shared: int
    """/dev/shm: the object store and what is staged."""
    limit: int
    """Of the container, /dev/shm included."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunMemory:
    """Of a run's pods."""

    planned: PlannedMemory
    head: PodMemory
    workers: Mapping[str, PodMemory]


def run_memory(config: RunConfig, settings: Settings, shapes: list[GroupShape]) -> RunMemory:
    """Return what each pod needs. Raises ConfigError where the model's size is not known."""
    planned = planned_memory(config, settings.model_parameters)
    if planned is None:
        raise ConfigError(
            f"model_parameters: must be given (--set model_parameters=8.3e9), since the weights of "
            f"{config.model.path} are on no disk of this machine to be counted"
        )
    head = _pod(planned.object_store_bytes, 0, HEAD_BYTES + settings.head.extra_memory_bytes)
    workers = {shape.role: _worker(shape, config, settings, planned) for shape in shapes}
    return RunMemory(planned=planned, head=head, workers=workers)


def _worker(shape: GroupShape, config: RunConfig, settings: Settings, planned: PlannedMemory) -> PodMemory:
    # On its way to the learner, or from the weight store to the staged copy.
    store = 4 * min(config.weights.bucket_bytes, planned.model_bytes)
    if shape.role == "learner":
        store += 2 * config.train.groups_per_step * planned.group_bytes
    staged = 0 if shape.role == "learner" else planned.staged_bytes
    processes = NODE_BYTES + shape.actors_per_pod * (
        PROCESS_BYTES[shape.role] + CUDA_BYTES * bool(shape.gpus)
    )
    processes += _weights(shape, config, planned)
    if shape.role == "learner":
        processes += -(-config.reward.replicas // shape.pods) * PROCESS_BYTES["reward"]
    extra: int = getattr(settings, shape.role).extra_memory_bytes
    return _pod(store, staged, processes + extra)


def _weights(shape: GroupShape, config: RunConfig, planned: PlannedMemory) -> int:
    """Weights, and what belongs to them, that a pod keeps in host memory."""
    share = shape.actors_per_pod / config.learner.replicas
    if shape.role == "learner":
        on_host = CHECKPOINT_BYTES * config.learner.offload_optimizer if shape.gpus else TRAINING_BYTES
        # A model is loaded whole by each rank before ZeRO parts it; one at a time reads the same pages.
        return (
            planned.snapshot_bytes
            + planned.model_bytes
            + round(on_host * share * num_weights(config, planned))
        )
    if shape.gpus:
        return planned.model_bytes  # while it is loaded
    copies = 2 if shape.role == "scorer" and config.algorithm.kl_coef > 0 else 1
    cache = int(config.generator.engine.get("kv_cache_memory_bytes", 0)) if shape.role == "generator" else 0
    return shape.actors_per_pod * ((copies + 1) * planned.model_bytes + cache)


def _pod(store: float, staged: int, processes: int) -> PodMemory:
    store = max(int(store), MIN_STORE_BYTES)
    shared = round((store + staged) * SHARED_SPARE)
    return PodMemory(object_store=store, shared=shared, limit=shared + processes)
