"""How much host memory and disk a run takes: its processes, a checkpoint. Estimates, each with its rule.

Reuses `planning`, at its peaks. Owns what a role's process takes in host memory besides.
"""

from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.doctor.machine import Machine
from pgpo_async.orchestration.planning.plan_inputs import WEIGHT_BYTES
from pgpo_async.orchestration.planning.plan_memory import PlannedMemory
from pgpo_async.orchestration.planning.role_memory import ENGINE_MEMORY_SHARE

PROCESS_BYTES = 768 << 20
"""Resident in a process that has loaded torch and the smallest model."""
REWARD_BYTES = 256 << 20
RAY_BYTES = 1 << 30
"""Ray's own processes on a node and the workers it keeps waiting."""
TRAINING_BYTES = 16
"""Of one weight while it is trained: gradient, master copy and two moments, in float32."""
CHECKPOINT_BYTES = 12
"""Of one weight in a checkpoint, besides itself: master copy and two moments."""


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
