"""Whether what shares a GPU fits it, and which field to change where it does not.

A remedy is found by trying: one change after the other, until the estimate says that it fits. Pure. Called by
`estimate`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.planning.gpus import GIB, GpuKind
from pgpo_async.orchestration.planning.model_shape import ModelShape
from pgpo_async.orchestration.planning.role_memory import (
    ENGINE_MEMORY_SHARE,
    cache_tokens,
    generator_memory,
    roles_memory,
)
from pgpo_async.orchestration.planning.sharing import shared_devices
from pgpo_async.orchestration.planning.workload import Workload

Field = tuple[str, ...]
_SMALLEST_SHARE = 0.1
_FEWEST_TOKENS = 1024
"""Of a pass, below which no budget is proposed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceMemory:
    """What is on one GPU, and on how many GPUs it is so."""

    roles: tuple[str, ...]
    num_gpus: int
    num_bytes: int


def device_memory(config: RunConfig, shape: ModelShape, work: Workload, gpu: GpuKind) -> list[DeviceMemory]:
    """Return each kind of occupied GPU."""
    each = {memory.role: memory.num_bytes for memory in roles_memory(config, shape, work, gpu)}
    return [
        DeviceMemory(roles=roles, num_gpus=num, num_bytes=sum(each[role] for role in roles))
        for roles, num in shared_devices(config).items()
    ]


def memory_problems(config: RunConfig, shape: ModelShape, work: Workload, gpu: GpuKind) -> Iterator[str]:
    """Yield a line for each kind of GPU that holds too much, with what to change; for a cache too small."""
    for device in device_memory(config, shape, work, gpu):
        if device.num_bytes <= gpu.memory_bytes:
            continue
        who = " and ".join(device.roles)
        yield (
            f"{device.roles[-1]}: about {device.num_bytes / GIB:.0f} GiB of {who} do not fit the "
            f"{gpu.memory_gib:g} GiB of {gpu.name}; {_remedy(config, shape, work, gpu, device.roles)}"
        )
    if config.generator.gpus > 0:
        yield from _cache_problem(config, shape, work, gpu)


def _cache_problem(config: RunConfig, shape: ModelShape, work: Workload, gpu: GpuKind) -> Iterator[str]:
    tokens = cache_tokens(generator_memory(config, shape, work, gpu), config, shape)
    longest = config.data.max_prompt_tokens + config.generation.max_response_tokens
    if tokens < longest:
        field = "kv_cache_memory_bytes"
        if field not in config.generator.engine:
            field = "gpu_memory_utilization"
        yield (
            f"generator.engine.{field}: the cache of {tokens:,} tokens holds no sequence of {longest:,} "
            "(data.max_prompt_tokens and generation.max_response_tokens); raise it, or use a larger GPU"
        )


def _remedy(
    config: RunConfig, shape: ModelShape, work: Workload, gpu: GpuKind, roles: tuple[str, ...]
) -> str:
    def size(changed: RunConfig) -> float:
        each = {memory.role: memory.num_bytes for memory in roles_memory(changed, shape, work, gpu)}
        return sum(each[role] for role in roles)

    changed, said = config, dict[Field, Any]()
    for field, value in _changes(config, roles):
        if (alone := size(_with(config, field, value))) <= gpu.memory_bytes:
            return f"with {_as_text({field: value})} it would be {alone / GIB:.0f}"
        if size(more := _with(changed, field, value)) < size(changed):
            changed, said = more, said | {field: value}
        if (together := size(changed)) <= gpu.memory_bytes:
            return f"with {_as_text(said)} together it would be {together / GIB:.0f}"
    return "no one field mends it: more learner.replicas, a whole GPU each, a smaller model or a larger GPU"


def _changes(config: RunConfig, roles: tuple[str, ...]) -> Iterator[tuple[Field, Any]]:
    """Yield fields and values: what costs least first."""
    engine = config.generator.engine
    if "generator" in roles and len(roles) > 1 and "kv_cache_memory_bytes" not in engine:
        share = engine.get("gpu_memory_utilization", ENGINE_MEMORY_SHARE)
        while (share := round(share - 0.05, 2)) >= _SMALLEST_SHARE:
            yield ("generator", "engine", "gpu_memory_utilization"), share
    if "scorer" in roles:
        yield from ((("scorer", "pass_tokens"), tokens) for tokens in _halves(config.scorer.pass_tokens))
    if "learner" not in roles:
        return
    learner = config.learner
    if learner.replicas > 1 and learner.zero_stage < 3:
        yield ("learner", "zero_stage"), 3
    if not learner.activation_checkpointing:
        yield ("learner", "activation_checkpointing"), True
    yield from ((("learner", "micro_batch_tokens"), tokens) for tokens in _halves(learner.micro_batch_tokens))
    if not learner.offload_optimizer:
        yield ("learner", "offload_optimizer"), True


def _halves(tokens: int) -> Iterator[int]:
    while (tokens := tokens // 2) >= _FEWEST_TOKENS:
        yield tokens


def _with(config: RunConfig, field: Field, value: Any) -> RunConfig:
    role, name, *inner = field
    section = getattr(config, role)
    if inner:
        value = {**getattr(section, name), inner[0]: value}
    return config.model_copy(update={role: section.model_copy(update={name: value})})


def _as_text(changes: dict[Field, Any]) -> str:
    return ", ".join(f"{'.'.join(field)}={str(value).lower()}" for field, value in changes.items())
