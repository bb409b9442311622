"""Times, memory and the device's own speed, measured the same way for everything that is compared.

Called by the benchmarks.
"""

import ctypes
import gc
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

_PAGE_BYTES = 4096
_SAMPLE_S = 0.01


def medians(
    ways: Mapping[str, Callable[[], object]],
    plain: Mapping[str, Sequence[Callable[[], object]]],
    *,
    repeats: int,
    device: torch.device,
    said: Callable[[str], None] = lambda _: None,
) -> dict[str, float]:
    """Median seconds of each way, and of each plain way's parts together.

    A plain way is several runs alike, one after another: `len(parts)` times the median of all is told.
    The ways come in between, every other time, so that a slow moment of the machine hits all alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in (*ways, *plain)}
    rounds = max((len(parts) for parts in plain.values()), default=1)
    for turn in range(repeats):
        for number in range(rounds):
            said(f"{turn + 1}/{repeats}, {number + 1}/{rounds}")
            for name, parts in plain.items():
                if number < len(parts):
                    seconds[name].append(timed(parts[number], device))
            if number % 2 == 0:
                for name, run in ways.items():
                    seconds[name].append(timed(run, device))
    return {name: len(plain.get(name, [0])) * statistics.median(times) for name, times in seconds.items()}


def timed(run: Callable[[], object], device: torch.device) -> float:
    """Seconds of one run, to the end of what it launched."""
    _wait(device)
    started_s = time.perf_counter()
    run()
    _wait(device)
    return time.perf_counter() - started_s


def matmul_flops(dtype: torch.dtype, device: torch.device) -> float:
    """Floating-point operations a second of a large matrix product: the peak that shares are of."""
    size = 8192 if device.type == "cuda" else 2048
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    timed(lambda: left @ right, device)
    return 2.0 * size**3 / min(timed(lambda: left @ right, device) for _ in range(5))


class PeakMemory:
    """Most bytes that were in use inside a `with`, beyond those before it: of the GPU, or of the process.

    The process is sampled every 10 ms from Linux's own count, so a shorter peak may be missed.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._done = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True)
        self._base = self._most = 0

    @property
    def extra_bytes(self) -> int:
        """Peak less what was in use at the start."""
        return self._most - self._base

    def __enter__(self) -> "PeakMemory":
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self._base = torch.cuda.memory_allocated(self._device)
        else:
            _give_back_freed_memory()
            self._base = self._most = _resident_bytes()
            self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._device.type == "cuda":
            self._most = torch.cuda.max_memory_allocated(self._device)
        else:
            self._done.set()
            self._sampler.join()

    def _sample(self) -> None:
        while not self._done.wait(_SAMPLE_S):
            self._most = max(self._most, _resident_bytes())


def machine(device: torch.device) -> dict[str, Any]:
    """What the figures were measured on."""
    import transformers

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "CPU"


def _give_back_freed_memory() -> None:
    """What the C library keeps of freed memory would hide the next peak. Without glibc it stays."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
