"""What the checks know of the machine, as plain data: tests put another machine in its place.

Owns the looking, and that a container's share counts, not its host's size. Cheap: nothing that could hang or
crash, nothing heavy.
"""

import os
import platform
import resource
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from pgpo_async.orchestration.doctor.packages import Packages, installed_packages

CGROUP = Path("/sys/fs/cgroup")
UNLIMITED = 1 << 60
"""From here on a limit is none: the kernel writes page-rounded largest numbers for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Sizes in bytes; `open_files` soft and hard limit; `threads_left` None where nothing limits them."""

    packages: Packages
    environ: Mapping[str, str]
    num_cpus: int
    architecture: str
    cpu_flags: frozenset[str]
    memory_bytes: int
    available_bytes: int
    open_files: tuple[int, int]
    threads_left: int | None
    nvidia_driver: str
    shared_memory: Path
    ray_folder: Path
    home: Path


def this_machine() -> Machine:
    """Look around."""
    memory = psutil.virtual_memory()
    total, available = limited_memory(memory.total, memory.available)
    temporary = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    return Machine(
        packages=installed_packages(),
        environ=dict(os.environ),
        num_cpus=limited_cpus(len(os.sched_getaffinity(0))),
        architecture=platform.machine(),
        cpu_flags=_cpu_flags(),
        memory_bytes=total,
        available_bytes=available,
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE),
        threads_left=threads_left(),
        nvidia_driver=_first_line(Path("/proc/driver/nvidia/version")),
        shared_memory=Path("/dev/shm"),
        ray_folder=Path(temporary) / "ray",
        home=Path.home(),
    )


def limited_memory(total: int, available: int, cgroup: Path = CGROUP) -> tuple[int, int]:
    """Memory in all and available, at most what the container may use."""
    limit = _first_number(cgroup / "memory.max", cgroup / "memory/memory.limit_in_bytes")
    used = _first_number(cgroup / "memory.current", cgroup / "memory/memory.usage_in_bytes")
    if limit is None or limit >= min(total, UNLIMITED):
        return total, available
    # Files that were read count as used, and go as soon as they are in the way.
    cached = _cached(cgroup / "memory.stat", cgroup / "memory/memory.stat")
    return limit, min(available, max(0, limit - max(0, (used or 0) - cached)))


def limited_cpus(num_cpus: int, cgroup: Path = CGROUP) -> int:
    """Cores of this process, at most what the container's quota comes to."""
    quota, _, period = _first_line(cgroup / "cpu.max").partition(" ")
    if not quota:
        quota = _first_line(cgroup / "cpu/cpu.cfs_quota_us")
        period = _first_line(cgroup / "cpu/cpu.cfs_period_us")
    if not (quota.isdecimal() and period.isdecimal() and int(period)):
        return num_cpus
    return max(1, min(num_cpus, -(-int(quota) // int(period))))


def threads_left(cgroup: Path = CGROUP) -> int | None:
    """Processes and threads that may still be started: by the container's bound, and by this user's."""
    bounds = []
    most = _first_number(cgroup / "pids.max", cgroup / "pids/pids.max")
    if most is not None:
        bounds.append(most - (_first_number(cgroup / "pids.current", cgroup / "pids/pids.current") or 0))
    soft, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if soft != resource.RLIM_INFINITY and os.geteuid() != 0:  # the kernel lets root pass
        bounds.append(soft - _threads_of_user(os.getuid()))
    return max(0, min(bounds)) if bounds else None


def _threads_of_user(user: int) -> int:
    total = 0
    for process in psutil.process_iter(["uids", "num_threads"]):
        uids = process.info["uids"]
        if uids is not None and uids.real == user:
            total += process.info["num_threads"] or 1
    return total


def _cpu_flags() -> frozenset[str]:
    """What the processor can do, in Linux's names ("flags" on x86, "Features" on Arm)."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    found = (line.partition(":")[2] for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(found, "").split())


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").partition("\n")[0].strip()
    except OSError:
        return ""


def _first_number(*paths: Path) -> int | None:
    return next((int(text) for path in paths if (text := _first_line(path)).isdecimal()), None)


def _cached(*paths: Path) -> int:
    for path in paths:
        try:
            lines = path.read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            continue
        values = dict(line.split(" ", 1) for line in lines if " " in line)
        text = values.get("inactive_file") or values.get("total_inactive_file") or "0"
        return int(text) if text.isdecimal() else 0
    return 0
