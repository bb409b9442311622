"""Host memory and shared memory against what a run will keep in them.

Owns the limits' words and levels; the estimates are `sizes`'. What cannot be known of a cluster that is
joined is not guessed.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.doctor.lines import Line, error, ok, warning
from pgpo_async.orchestration.doctor.machine import Machine
from pgpo_async.orchestration.doctor.sizes import host_bytes
from pgpo_async.orchestration.planning.peak_memory import planned_memory
from pgpo_async.orchestration.planning.plan_memory import PlannedMemory
from pgpo_async.orchestration.planning.units import in_bytes

HOW_TO_ENLARGE = (
    "mount a larger tmpfs there: `mount -o remount,size=16G /dev/shm`, --shm-size=16g in Docker, an emptyDir "
    "of medium Memory in Kubernetes"
)
_IN_MEMORY = frozenset({"tmpfs", "ramfs"})
_PROBE_BYTES = 4096
# Ray's own rules for a store whose size is not given.
STORE_SHARE = 0.3
LARGEST_STORE_BYTES = 200 * 10**9
SMALLEST_STORE_BYTES = 75 << 20
SLOW_STORE_BYTES = 10**10
"""Up to here Ray puts a store that does not fit into shared memory on disk; beyond it, it does not start."""


def check_memory(config: RunConfig, machine: Machine) -> Iterator[Line]:
    """Yield lines on host memory, shared memory, the object store and the queue."""
    usable = _usable(machine.shared_memory)
    memory = planned_memory(config)
    if memory is None:
        yield warning(
            "memory",
            f"{in_bytes(machine.available_bytes)} of {in_bytes(machine.memory_bytes)} are free; what is "
            "needed is not known before the model is on this machine",
            "look again with model.path=FOLDER, where its safetensors files are",
        )
    elif config.ray.address is None:
        yield _host(config, machine, memory)
    if usable is not None:
        yield usable
    elif memory is not None:
        yield from shared_lines(config, machine, memory, shutil.disk_usage(machine.shared_memory).free)
    if memory is not None:
        yield _queue(config, memory)


def _host(config: RunConfig, machine: Machine, memory: PlannedMemory) -> Line:
    parts = host_bytes(config, machine, memory)
    total = sum(parts.values())
    largest = sorted(parts, key=lambda name: -parts[name])[:3]
    shares = ", ".join(f"{name} {in_bytes(parts[name])}" for name in largest)
    found = f"about {in_bytes(total)} needed (most: {shares}), {in_bytes(machine.available_bytes)} free"
    advice = (
        f"give less to {largest[0]}: fewer replicas, a smaller generator.engine.kv_cache_memory_bytes, or a "
        "larger machine"
    )
    if total <= machine.available_bytes:
        return ok("memory", found)
    found = f"{found} of {in_bytes(machine.memory_bytes)}"
    return (error if total > machine.memory_bytes else warning)("memory", found, advice)


def _usable(folder: Path) -> Line | None:
    """What keeps a folder from being used as shared memory, if anything does."""
    if not folder.is_dir():
        return error("shared memory", f"{folder} is not there", HOW_TO_ENLARGE)
    probe = folder / f"pgpo_async-doctor-{os.getpid()}"
    try:
        probe.write_bytes(bytes(_PROBE_BYTES))
        probe.unlink()
    except OSError as cause:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
        return error(
            "shared memory",
            f"{folder} cannot be written: {cause.strerror or cause}; Ray, vLLM and staged weights need it",
            f"make it writable for this user, or {HOW_TO_ENLARGE}",
        )
    kind = file_system(folder)
    if kind and kind not in _IN_MEMORY:
        found = (
            f"{folder} is on a disk ({kind}), not in memory: staged weights and object store would be slow"
        )
        return warning("shared memory", found, HOW_TO_ENLARGE)
    return None


def file_system(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The kind of file system a folder is on; empty where that is not known."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    places = [(fields[1], fields[2]) for line in lines if len(fields := line.split()) > 2]
    path = str(folder.resolve())
    over = [
        (place, kind) for place, kind in places if path == place or path.startswith(place.rstrip("/") + "/")
    ]
    # Of two at one place the later hides the earlier.
    return max(reversed(over), key=lambda entry: len(entry[0]), default=("", ""))[1]


def shared_lines(config: RunConfig, machine: Machine, memory: PlannedMemory, free: int) -> Iterator[Line]:
    """Yield what `free` bytes of shared memory are enough for."""
    folder, staged = machine.shared_memory, memory.staged_bytes
    versions = f"{config.weights.keep_versions + 1} versions of the weights ({in_bytes(staged)})"
    if free < staged:
        yield error(
            "shared memory",
            f"{in_bytes(free)} are free in {folder}, not enough for {versions}",
            f"{HOW_TO_ENLARGE}; or lower weights.keep_versions",
        )
    elif config.ray.address is not None:
        yield ok("shared memory", f"{in_bytes(free)} free in {folder}: {versions} fit")
    else:
        yield from _with_object_store(config, machine, memory, free, versions)


def _with_object_store(
    config: RunConfig, machine: Machine, memory: PlannedMemory, free: int, versions: str
) -> Iterator[Line]:
    given = config.ray.object_store_bytes
    size = given or default_store_bytes(machine.available_bytes, free)
    kept = memory.object_store_bytes
    room = f"{in_bytes(free)} free in {machine.shared_memory}"
    if given and given < SMALLEST_STORE_BYTES:
        yield error(
            "object store",
            f"ray.object_store_bytes is {given:,}, Ray starts none below {SMALLEST_STORE_BYTES:,}",
            f"set ray.object_store_bytes={max(kept, SMALLEST_STORE_BYTES)}",
        )
    elif size > free and size > SLOW_STORE_BYTES:
        yield error(
            "object store",
            f"{in_bytes(size)} asked for, {room}: Ray does not start",
            f"{HOW_TO_ENLARGE}; or set ray.object_store_bytes={max(kept, SMALLEST_STORE_BYTES)}",
        )
    elif size > free:
        found = f"{in_bytes(size)} asked for, {room}: Ray puts it on disk, which is slow"
        yield warning("object store", found, f"{HOW_TO_ENLARGE}; or lower ray.object_store_bytes")
    elif size < kept:
        yield warning(
            "object store",
            f"{in_bytes(size)}, a run may keep {in_bytes(kept)} there ({in_bytes(memory.queue_bytes)} of "
            f"groups, {in_bytes(memory.weight_store_bytes)} of weights): what does not fit goes to disk",
            f"set ray.object_store_bytes={kept}, or lower queue.max_bytes",
        )
    else:
        how = "ray.object_store_bytes" if given else "Ray's own choice"
        yield ok("object store", f"{in_bytes(size)} ({how}), a run keeps at most {in_bytes(kept)} there")
    used = min(size, kept)
    if free < memory.staged_bytes + used:
        yield warning(
            "shared memory",
            f"{room}: {versions} and an object store of {in_bytes(used)} do not fit together",
            f"{HOW_TO_ENLARGE}; or lower weights.keep_versions or queue.max_bytes",
        )
    else:
        yield ok("shared memory", f"{room}: {versions} and the object store fit")


def default_store_bytes(available: int, shared_free: int) -> int:
    """What Ray takes where `ray.object_store_bytes` is not given."""
    most = min(LARGEST_STORE_BYTES, max(SLOW_STORE_BYTES, int(0.95 * shared_free)))
    return min(int(STORE_SHARE * available), most)


def _queue(config: RunConfig, memory: PlannedMemory) -> Line:
    """Whether the queue's bound leaves room for what admission lets in."""
    bound, group = config.queue.max_bytes, memory.group_bytes
    batch, everything = config.train.groups_per_step * group, config.max_slots * group
    if bound < batch:
        return error(
            "queue",
            f"queue.max_bytes {in_bytes(bound)} is less than one batch: {config.train.groups_per_step} "
            f"groups of up to {in_bytes(group)}",
            f"set queue.max_bytes={everything}",
        )
    if bound < everything:
        return warning(
            "queue",
            f"queue.max_bytes {in_bytes(bound)} is less than the {config.max_slots} groups of up to "
            f"{in_bytes(group)} that admission lets in: generators wait for room",
            f"set queue.max_bytes={everything}, or a lower train.max_lag",
        )
    return ok(
        "queue",
        f"{config.max_slots} groups of up to {in_bytes(group)} fit queue.max_bytes, {in_bytes(bound)}",
    )
