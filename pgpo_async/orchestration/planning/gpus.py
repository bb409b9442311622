"""Kinds of GPU, by their data sheets, and how much of that is taken to be reached.

Owns both tables of numbers; nothing here was measured by us. Pure. Called by the estimates.
"""

import difflib
from dataclasses import dataclass

from pgpo_async.contracts import ConfigError

GIB = 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuKind:
    """One GPU: what a process sees of its memory, dense bfloat16, memory and links, a direction each."""

    name: str
    memory_gib: float
    tflops: float
    memory_gb_per_s: float
    link_gb_per_s: float
    """To the other GPUs of its node: NVLink, or PCIe where there is none."""

    @property
    def memory_bytes(self) -> int:
        """Of the device."""
        return int(self.memory_gib * GIB)

    def describe(self) -> str:
        """Say what it is."""
        return (
            f"{self.name}: {self.memory_gib:g} GiB, {self.tflops:g} TFLOP/s in bfloat16, "
            f"{self.memory_gb_per_s:,.0f} GB/s of memory, {self.link_gb_per_s:,.0f} GB/s to those beside it"
        )


_KINDS = (
    GpuKind(name="a100", memory_gib=79, tflops=312, memory_gb_per_s=2039, link_gb_per_s=300),
    GpuKind(name="a100-40gb", memory_gib=39, tflops=312, memory_gb_per_s=1555, link_gb_per_s=300),
    GpuKind(name="h100", memory_gib=79, tflops=989, memory_gb_per_s=3350, link_gb_per_s=450),
    GpuKind(name="h200", memory_gib=139, tflops=989, memory_gb_per_s=4800, link_gb_per_s=450),
    GpuKind(name="b200", memory_gib=178, tflops=2250, memory_gb_per_s=8000, link_gb_per_s=900),
    GpuKind(name="l40s", memory_gib=44, tflops=362, memory_gb_per_s=864, link_gb_per_s=32),
)
GPU_KINDS = {kind.name: kind for kind in _KINDS}
DEFAULT_GPU = "h100"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rates:
    """Shares of the peaks that are taken to be reached, and what does not depend on the GPU."""

    compute: float = 0.3
    """Of the peak, by matrix products of scorer, learner and prefill, all their other work included."""
    memory: float = 0.5
    """Of the memory's rate, by decoding."""
    link: float = 0.6
    """Of the link's rate, by collectives."""
    decode_s: float = 0.006
    """Of each decoding step, beside reading weights and cache: scheduling, sampling, kernel starts."""
    host_adam_per_s: float = 0.6e9
    """Weights a second that one host updates where the optimizer's state is kept there."""
    host_copy_bytes_per_s: float = 20e9
    """Between a GPU and its host."""
    publish_s_per_gb: float = 2.3
    """From a snapshot to files that receivers can read: `bench weights` on two cores."""
    load_s_per_gb: float = 0.23
    """Of an engine that takes them: the same benchmark."""


def gpu_kind(name: str) -> GpuKind:
    """Return the kind of this name. Raises ConfigError with the nearest one."""
    kind = GPU_KINDS.get(name.lower())
    if kind is None:
        meant = difflib.get_close_matches(name.lower(), GPU_KINDS, n=1)
        hint = f", did you mean {meant[0]}?" if meant else ""
        raise ConfigError(f"--gpu: must be one of {', '.join(GPU_KINDS)}, got {name!r}{hint}")
    return kind
