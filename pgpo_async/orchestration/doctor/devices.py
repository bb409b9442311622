"""GPUs as torch sees them against what the config asks of this machine. Pure but for `see_devices`.

Owns what makes a GPU that is there unusable: no driver, one too old for torch, kernels for other GPUs, memory
that someone else holds, no bfloat16.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass

from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.doctor.lines import Line, error, ok, shortened, warning
from pgpo_async.orchestration.doctor.machine import Machine
from pgpo_async.orchestration.placement import NodeOffer, local_cpus, plan_placement
from pgpo_async.orchestration.planning.role_memory import ENGINE_MEMORY_SHARE
from pgpo_async.orchestration.planning.units import in_bytes

BFLOAT16_SINCE = (8, 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """One device: bytes in all and free, compute capability."""

    name: str
    memory_bytes: int
    free_bytes: int
    capability: tuple[int, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Devices:
    """What torch sees. `built_for` is its CUDA ("" for none), `kernels` the capabilities it has code for."""

    built_for: str
    gpus: tuple[Gpu, ...] = ()
    kernels: tuple[str, ...] = ()
    problem: str = ""


def see_devices() -> Devices:
    """Ask torch; what it says of a driver that does not fit is kept as `problem`."""
    import torch

    built_for = torch.version.cuda or ""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            available = torch.cuda.is_available()
            numbers = range(torch.cuda.device_count()) if available else range(0)
            gpus = tuple(_gpu(number) for number in numbers)
            kernels = tuple(torch.cuda.get_arch_list()) if available else ()
        except (RuntimeError, AssertionError) as cause:
            return Devices(built_for=built_for, problem=shortened(" ".join(str(cause).split()), 300))
    text = " ".join(str(said[0].message).split()) if said and not gpus else ""
    return Devices(built_for=built_for, gpus=gpus, kernels=kernels, problem=shortened(text, 300))


def _gpu(number: int) -> Gpu:
    import torch

    found = torch.cuda.get_device_properties(number)
    free, total = torch.cuda.mem_get_info(number)
    return Gpu(name=found.name, memory_bytes=total, free_bytes=free, capability=(found.major, found.minor))


def device_lines(config: RunConfig, machine: Machine, devices: Devices) -> Iterator[Line]:
    """Yield what is there and what of it is lacking or cannot be used."""
    plan = plan_placement(config)
    asked = plan.total("GPU")
    here = config.ray.address is None
    there = ", ".join(_described(gpu) for gpu in devices.gpus) or "none"
    if devices.problem:
        level = error if here and asked else warning
        yield level("GPUs", f"torch cannot use them: {devices.problem}", _driver_advice(devices))
    elif not devices.gpus and machine.nvidia_driver:
        why = (
            "is built without CUDA"
            if not devices.built_for
            else "sees none (CUDA_VISIBLE_DEVICES, or no access)"
        )
        level = error if here and asked else warning
        yield level(
            "GPUs",
            f"there is a driver ({machine.nvidia_driver}), but torch {why}",
            "install torch for CUDA"
            if not devices.built_for
            else "unset CUDA_VISIBLE_DEVICES; in Docker: --gpus all",
        )
    elif not (here and asked):
        what = (
            "the config asks for none here" if here else "the run's are those of the cluster, see `cluster`"
        )
        yield ok("GPUs", f"{there}; {what}")
    if here and asked:
        offer = NodeOffer(resources={"GPU": len(devices.gpus), "CPU": local_cpus(config, machine.num_cpus)})
        # Other resources and labels are what a Ray that starts here never has: they are lacking, too.
        lacking = plan.lacking([offer])
        for line in lacking:
            field = line.partition(":")[0]
            yield error("GPUs", line, f"lower {field} or `replicas`, or join a cluster with ray.address")
        if not lacking:
            yield ok("GPUs", f"{there}; the config asks for {asked:g}")
        yield from _each(config, devices)


def _described(gpu: Gpu) -> str:
    major, minor = gpu.capability
    return f"{gpu.name} ({in_bytes(gpu.memory_bytes)}, capability {major}.{minor})"


def _driver_advice(devices: Devices) -> str:
    return f"install a driver for CUDA {devices.built_for} or newer (`nvidia-smi` says what is there)"


def _each(config: RunConfig, devices: Devices) -> Iterator[Line]:
    share = config.generator.engine.get("gpu_memory_utilization", ENGINE_MEMORY_SHARE)
    for number, gpu in enumerate(devices.gpus):
        if not has_kernels(gpu.capability, devices.kernels):
            yield error(
                "GPUs",
                f"torch has no kernels for GPU {number}, {_described(gpu)}; it has some for "
                f"{', '.join(devices.kernels)}",
                "install a torch built for this GPU",
            )
        if config.model.dtype == "bfloat16" and gpu.capability < BFLOAT16_SINCE:
            yield error(
                "GPUs",
                f"GPU {number}, {_described(gpu)}, has no bfloat16, which needs 8.0",
                "set model.dtype=float32, or use another GPU",
            )
        if (
            config.generator.gpus >= 1
            and isinstance(share, float)
            and gpu.free_bytes < share * gpu.memory_bytes
        ):
            yield warning(
                "GPUs",
                f"GPU {number} has {in_bytes(gpu.free_bytes)} of {in_bytes(gpu.memory_bytes)} free, "
                f"an engine takes {share:.0%} of all",
                "end what holds it (`nvidia-smi`), or lower generator.engine.gpu_memory_utilization",
            )


def has_kernels(capability: tuple[int, int], kernels: tuple[str, ...]) -> bool:
    """Whether code for one of these runs on a GPU: of its own generation, or compiled from an older one's."""
    for kernel in kernels:
        kind, _, digits = kernel.partition("_")
        digits = digits.rstrip("af")
        if not digits.isdecimal():
            continue
        major, minor = int(digits[:-1]), int(digits[-1])
        if kind == "sm" and major == capability[0] and minor <= capability[1]:
            return True
        if kind == "compute" and (major, minor) <= capability:
            return True
    return not kernels
