"""What each role keeps in its GPU's memory (its host's, where it has none), part by part.

By the rules of `learner.deepspeed_config`, `policy` and vLLM; estimates, none of them measured on a GPU.
Owns the parts, not whether they fit (`fitting`). Pure.
"""

from dataclasses import dataclass

from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.planning.activations import (
    block_numbers,
    output_bytes,
    scoring_numbers,
    training_numbers,
)
from pgpo_async.orchestration.planning.gpus import GIB, GpuKind
from pgpo_async.orchestration.planning.model_shape import ModelShape
from pgpo_async.orchestration.planning.plan_inputs import WEIGHT_BYTES
from pgpo_async.orchestration.planning.workload import Workload

ENGINE_MEMORY_SHARE = 0.92
"""Of its device's memory, that an engine takes unless generator.engine.gpu_memory_utilization says so: of a
GPU's, or, where it is not told how large its cache is to be, of the whole machine's."""
MAX_NUM_SEQS, MAX_BATCHED_TOKENS = 256, 8192
"""vLLM's own, about, where generator.engine says nothing."""
CONTEXT_BYTES = 3 * GIB // 2
"""Of a process on a GPU: CUDA, NCCL, what torch's allocator leaves between blocks."""
GRADIENT_BYTES, STATE_BYTES = 4, 12
"""Of a trained weight: the sum of its gradients; master copy and two moments. All in float32."""
UPDATE_BYTES = 8
"""Of a weight while it is updated: its gradient once more, and a root of its second moment."""
GROUP_WEIGHTS = 10**9
"""Weights that ZeRO 3 updates at once, and the most that it keeps gathered."""
BUCKET_BYTES = 4 * 2 * 50_000_000
"""Gradients and weights on their way between ranks."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """One thing in memory."""

    what: str
    num_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleMemory:
    """One actor's memory; on a GPU if `gpus` is above 0."""

    role: str
    gpus: float
    parts: tuple[Part, ...]

    @property
    def num_bytes(self) -> int:
        """All parts."""
        return sum(part.num_bytes for part in self.parts)


def roles_memory(config: RunConfig, shape: ModelShape, work: Workload, gpu: GpuKind) -> list[RoleMemory]:
    """Return one generator's, scorer's (if there are any) and learner rank's memory."""
    found = [generator_memory(config, shape, work, gpu)]
    if config.uses_scorers:
        found.append(scorer_memory(config, shape, work))
    return [*found, learner_memory(config, shape, work)]


def generator_memory(config: RunConfig, shape: ModelShape, work: Workload, gpu: GpuKind) -> RoleMemory:
    """One engine's; its cache is what is left of its share, unless the config says how large it is."""
    engine, size = config.generator.engine, WEIGHT_BYTES[config.model.dtype]
    on_gpu = config.generator.gpus > 0
    parts = tensor_parallel(config)
    weights = size * shape.num_weights // parts
    batched = engine.get("max_num_batched_tokens", MAX_BATCHED_TOKENS)
    seqs = engine.get("max_num_seqs", MAX_NUM_SEQS)
    patches = work.image_tokens * shape.tower.patches_per_token
    working = (
        size * batched * (8 * shape.hidden + 4 * shape.intermediate) // parts
        + 3 * 4 * seqs * shape.vocabulary // parts
        + size * patches * block_numbers(shape)
        + CONTEXT_BYTES * on_gpu
    )
    cache = engine.get("kv_cache_memory_bytes")
    if cache is None:
        share = engine.get("gpu_memory_utilization", ENGINE_MEMORY_SHARE)
        cache = max(0, share * gpu.memory_bytes - weights - working) if on_gpu else 0
    per_token = shape.cache_numbers * size // parts
    return _role(
        config,
        "generator",
        {
            "weights": weights,
            f"cache of keys and values: {int(cache) // per_token:,} tokens": cache,
            f"work on {batched:,} tokens, {seqs} sequences": working,
        },
    )


def cache_tokens(memory: RoleMemory, config: RunConfig, shape: ModelShape) -> int:
    """Tokens that a generator's cache holds."""
    cache = sum(part.num_bytes for part in memory.parts if part.what.startswith("cache"))
    return cache // (shape.cache_numbers * WEIGHT_BYTES[config.model.dtype] // tensor_parallel(config))


def tensor_parallel(config: RunConfig) -> int:
    """GPUs that one engine divides its weights among."""
    return int(config.generator.engine.get("tensor_parallel_size", 1))


def scorer_memory(config: RunConfig, shape: ModelShape, work: Workload) -> RoleMemory:
    """One scorer's."""
    size = WEIGHT_BYTES[config.model.dtype]
    copies = 1 + (config.algorithm.kl_coef > 0)
    on_gpu = config.scorer.gpus > 0
    return _role(
        config,
        "scorer",
        {
            "weights": copies * size * shape.num_weights,
            f"a pass over {config.scorer.pass_tokens:,} tokens": size * scoring_numbers(config, shape, work),
            "slices of logits": output_bytes(shape, on_gpu=on_gpu),
            "process": CONTEXT_BYTES * on_gpu,
        },
    )


def learner_memory(config: RunConfig, shape: ModelShape, work: Workload) -> RoleMemory:
    """One rank's, at its peak: in the pass, or in the update where that takes more."""
    learner, size = config.learner, WEIGHT_BYTES[config.model.dtype]
    ranks, stage, all_weights = learner.replicas, learner.zero_stage, shape.num_weights
    trained = trained_weights(config, shape)
    on_gpu = learner.gpus > 0
    # Gradients stay whole at stage 1; above it they go where the optimizer's state is.
    whole_gradients = GRADIENT_BYTES * trained // (ranks if stage > 1 else 1)
    gradients = 0 if learner.offload_optimizer and stage > 1 else whole_gradients
    state = 0 if learner.offload_optimizer else STATE_BYTES * trained // ranks
    gathered = size * min(all_weights, GROUP_WEIGHTS) if stage == 3 and ranks > 1 else 0
    tables = 0 if config.model.lora.rank else size * shape.table_weights * (1 if shape.tied else 2)
    activations = size * training_numbers(config, shape, work)
    output = output_bytes(shape, on_gpu=on_gpu) + tables
    at_once = min(trained // ranks, GROUP_WEIGHTS) if stage == 3 else trained // ranks
    update = 0 if learner.offload_optimizer else UPDATE_BYTES * at_once
    recomputed = "" if learner.activation_checkpointing else ", none recomputed"
    return _role(
        config,
        "learner",
        {
            "weights": size * all_weights // (ranks if stage == 3 else 1),
            "sums of gradients": gradients,
            "optimizer state": state,
            "gathered weights, buckets": gathered + BUCKET_BYTES * (ranks > 1),
            f"activations of {learner.micro_batch_tokens:,} tokens{recomputed}": activations,
            "slices of logits, gradients of the tables": output,
            "update, beyond what the pass has freed": max(0, update - activations - output),
            "process": CONTEXT_BYTES * on_gpu,
        },
    )


def offloaded_bytes(config: RunConfig, shape: ModelShape) -> int:
    """What all learner ranks together keep in host memory in place of their GPUs."""
    if not config.learner.offload_optimizer:
        return 0
    gradients = GRADIENT_BYTES if config.learner.zero_stage > 1 else 0
    return (STATE_BYTES + gradients) * trained_weights(config, shape)


def trained_weights(config: RunConfig, shape: ModelShape) -> int:
    """Weights with a gradient: adapters, where there are some, and nothing else."""
    lora = config.model.lora
    if lora.rank:
        return shape.adapter_weights(lora.rank, lora.target_modules)
    return shape.num_weights - (0 if config.model.train_vision_tower else shape.tower_weights)


def _role(config: RunConfig, role: str, parts: dict[str, float]) -> RoleMemory:
    return RoleMemory(
        role=role,
        gpus=getattr(config, role).gpus,
        parts=tuple(
            Part(what=what, num_bytes=int(num_bytes)) for what, num_bytes in parts.items() if num_bytes
        ),
    )
