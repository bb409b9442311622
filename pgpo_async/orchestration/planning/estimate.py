"""A run's memory by role and its stages' times, as far as they follow from the config, the model and the GPU.

Owns what is put together, and the words of what is assumed; the rules are `role_memory`'s, `fitting`'s and
`stage_times`'. Nothing is loaded or started. Called by `plan_report`, and by `launch` for a dry run.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.planning.fitting import DeviceMemory, device_memory, memory_problems
from pgpo_async.orchestration.planning.gpus import DEFAULT_GPU, GpuKind, Rates, gpu_kind
from pgpo_async.orchestration.planning.known_models import find_shape
from pgpo_async.orchestration.planning.role_memory import RoleMemory, offloaded_bytes, roles_memory
from pgpo_async.orchestration.planning.stage_times import StageEstimate, estimated_times
from pgpo_async.orchestration.planning.workload import StatedTokens, workload


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """What is expected of a run on one kind of GPU. `stages` is None where a role works without a GPU."""

    gpu: GpuKind
    roles: Sequence[RoleMemory]
    """One actor of each."""
    devices: Sequence[DeviceMemory]
    offloaded_bytes: int
    """In host memory in place of the learner's GPUs, all ranks together."""
    problems: Sequence[str]
    """What does not fit, and what to change."""
    stages: StageEstimate | None
    assumptions: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """Return the figures of `plan --json`."""
        return {
            "gpu": self.gpu.name,
            "memory_by_role": {
                memory.role: {
                    "on": "gpu" if memory.gpus else "host",
                    "bytes": memory.num_bytes,
                    "parts": {part.what: part.num_bytes for part in memory.parts},
                }
                for memory in self.roles
            },
            "memory_by_gpu": [asdict(device) for device in self.devices],
            "offloaded_bytes": self.offloaded_bytes,
            "does_not_fit": list(self.problems),
            "estimated_times": asdict(self.stages.times) if self.stages else None,
            "assumptions": list(self.assumptions),
        }


def estimate(
    config: RunConfig, *, gpu: str = DEFAULT_GPU, tokens: StatedTokens | None = None
) -> Estimate | None:
    """Estimate the run; None for a model of unknown shape. Raises ConfigError for an unknown kind of GPU."""
    kind, rates = gpu_kind(gpu), Rates()
    found = find_shape(config.model.path)
    if found is None:
        return None
    shape = found.shape
    work = workload(config, shape, tokens or StatedTokens())
    working = [config.generator, config.learner, *([config.scorer] if config.uses_scorers else [])]
    stages = None
    if all(role.gpus > 0 for role in working):
        stages = estimated_times(config, shape, work, kind, rates)
    return Estimate(
        gpu=kind,
        roles=roles_memory(config, shape, work, kind),
        devices=device_memory(config, shape, work, kind),
        offloaded_bytes=offloaded_bytes(config, shape),
        problems=tuple(memory_problems(config, shape, work, kind)),
        stages=stages,
        assumptions=(
            f"model: {shape.num_weights:,} weights, {found.how}",
            *work.hows,
            *((f"GPU: {kind.describe()}", *stages.hows, _reached(rates)) if stages else ()),
        ),
    )


def _reached(rates: Rates) -> str:
    return (
        f"reached: {rates.compute:.0%} of the peak by matrix products, {rates.memory:.0%} of the rate of the "
        f"memory, {rates.link:.0%} of that of links; {rates.decode_s * 1e3:g} ms of a decoding step for all "
        "else; nothing of this was measured on a GPU"
    )
