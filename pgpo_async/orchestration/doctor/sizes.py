"""How large things will be: weights, what a run keeps in memory, a checkpoint. Estimates, each with its rule.

Reuses `planning`, at its peaks. Owns what a role's process takes in host memory besides. Reads headers and a
few prompts, loads no model.
"""

from pathlib import Path

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.orchestration.doctor.machine import Machine
from pgpo_async.orchestration.planning.plan_inputs import WEIGHT_BYTES, group_size, model_size
from pgpo_async.orchestration.planning.plan_memory import PlannedMemory, plan_memory
from pgpo_async.orchestration.service_times import ServiceTimes
from pgpo_async.policy.model_path import resolve_model_path

PROCESS_BYTES = 768 << 20
"""Resident in a process that has loaded torch and the smallest model."""
REWARD_BYTES = 256 << 20
RAY_BYTES = 1 << 30
"""Ray's own processes on a node and the workers it keeps waiting."""
TRAINING_BYTES = 16
"""Of one weight while it is trained: gradient, master copy and two moments, in float32."""
CHECKPOINT_BYTES = 12
"""Of one weight in a checkpoint, besides itself: master copy and two moments."""
ENGINE_MEMORY_SHARE = 0.92
"""Of its device's memory, that an engine takes unless generator.engine.gpu_memory_utilization says so: of a
GPU's, or, where it is not told how large its cache is to be, of the whole machine's."""
# Publishing takes two steps: the most snapshots that can be waiting.
_AT_ITS_PEAK = ServiceTimes(generate_s=0.0, score_s=0.0, learn_s=1.0, publish_s=2.0)


def model_folder(config: RunConfig) -> Path | None:
    """Where the model's files are on this machine; None where they are not (yet)."""
    try:
        path = resolve_model_path(config.model.path)
    except ConfigError:
        return None
    if Path(path).is_dir():
        return Path(path)
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(path, "config.json")
    return Path(found).parent if isinstance(found, str) else None


def planned_memory(config: RunConfig, parameters: float | None = None) -> PlannedMemory | None:
    """What the run keeps at its peak; None where the model's size is neither stated nor known here."""
    folder = None if parameters else model_folder(config)
    path = config.model.path if folder is None else str(folder)
    local = config.model_copy(update={"model": config.model.model_copy(update={"path": path})})
    try:
        model = model_size(local, None, parameters)
    except ConfigError:
        return None
    group = group_size(config, None)
    return plan_memory(
        config, _AT_ITS_PEAK, step_s=1.0, group_bytes=group.num_bytes, model_bytes=model.num_bytes
    )


def num_weights(config: RunConfig, memory: PlannedMemory) -> int:
    """Numbers in the model."""
    return memory.model_bytes // WEIGHT_BYTES[config.model.dtype]


def checkpoint_bytes(config: RunConfig, memory: PlannedMemory) -> int:
    """One checkpoint, all ranks together."""
    return memory.model_bytes + CHECKPOINT_BYTES * num_weights(config, memory)


def host_bytes(config: RunConfig, machine: Machine, memory: PlannedMemory) -> dict[str, int]:
    """What a run that starts Ray here takes of this machine's memory, by who takes it."""
    weights = memory.model_bytes
    learner, scorer, generator = config.learner, config.scorer, config.generator
    parts = {
        "generators": generator.replicas * PROCESS_BYTES,
        "learner": learner.replicas * PROCESS_BYTES + memory.snapshot_bytes,
        "rewards": config.reward.replicas * REWARD_BYTES,
        "Ray": RAY_BYTES,
        "staged weights": memory.staged_bytes,
        "object store": memory.object_store_bytes,
    }
    if config.uses_scorers:
        models = (1 + (config.algorithm.kl_coef > 0)) * weights if scorer.gpus == 0 else 0
        parts["scorers"] = scorer.replicas * (PROCESS_BYTES + models)
    if generator.gpus == 0:
        parts["generators"] += generator.replicas * _engine_bytes(config, machine, weights)
    if learner.gpus == 0:
        # Gradients and states are divided among ranks, at the least the states.
        parts["learner"] += learner.replicas * weights + TRAINING_BYTES * num_weights(config, memory)
    elif learner.offload_optimizer:
        parts["learner"] += CHECKPOINT_BYTES * num_weights(config, memory)
    return parts


def _engine_bytes(config: RunConfig, machine: Machine, weights: int) -> int:
    """Weights and cache of a CPU engine, as vLLM reads its arguments and environment."""
    engine = config.generator.engine
    stated = machine.environ.get("VLLM_CPU_KVCACHE_SPACE", "")
    cache = int(stated) << 30 if stated.isdecimal() else engine.get("kv_cache_memory_bytes")
    if isinstance(cache, int):
        return weights + cache
    share = engine.get("gpu_memory_utilization", ENGINE_MEMORY_SHARE)
    return int(machine.memory_bytes * share) if isinstance(share, int | float) else weights
