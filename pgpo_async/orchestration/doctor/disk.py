"""Disks: where run folders go, whether they can be written, and room for checkpoints, journal and spilling.

A file system over a network can hang whoever touches it: called in a process of its own.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pgpo_async.actors.file_locks import FileLock
from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.doctor.lines import Line, error, ok, warning
from pgpo_async.orchestration.doctor.machine import Machine
from pgpo_async.orchestration.doctor.sizes import checkpoint_bytes
from pgpo_async.orchestration.planning.peak_memory import planned_memory
from pgpo_async.orchestration.planning.units import in_bytes

FULL_SHARE = 0.95
"""So full Ray stops putting objects on a disk."""


def check_disk(config: RunConfig, machine: Machine) -> Iterator[Line]:
    """Yield lines on `output_dir`, its room, and the folder that Ray keeps its sessions in."""
    folder = nearest_folder(config.output_path)
    problem = _problem(folder)
    if problem is not None:
        yield error("output_dir", f"{folder} {problem}", "set output_dir=FOLDER that you may write")
    else:
        yield _room(config, folder)
    if config.ray.address is None:
        yield _ray_folder(nearest_folder(machine.ray_folder))


def nearest_folder(path: Path) -> Path:
    """The first of a path and its parents that is there: what is missing is made when a run starts."""
    path = path.absolute()
    return next((place for place in (path, *path.parents) if place.exists()), path)


def _problem(folder: Path) -> str | None:
    if not folder.is_dir():
        return "is no folder"
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".pgpo_async-doctor-") as probe:
            probe.write(b"doctor")
            probe.flush()
            lock = FileLock(Path(probe.name))
            try:
                lock.try_lock(shared=False)
            finally:
                lock.close()
    except OSError as cause:
        return f"cannot be written and locked: {cause.strerror or cause}"
    return None


def _room(config: RunConfig, folder: Path) -> Line:
    usage = shutil.disk_usage(folder)
    memory = planned_memory(config)
    if memory is None:
        return ok(
            "output_dir", f"{folder} can be written, {in_bytes(usage.free)} free; checkpoints' size unknown"
        )
    train, one = config.train, checkpoint_bytes(config, memory)
    # What is kept, one being written, and the trained model.
    num = train.keep_checkpoints + train.keep_best + 1
    journal = _journal_bytes(config, memory.group_bytes)
    needed = num * one + memory.model_bytes + journal
    found = (
        f"{in_bytes(usage.free)} free in {folder}; up to {num} checkpoints of {in_bytes(one)}, the model and "
        f"a journal of {in_bytes(journal)} take {in_bytes(needed)}"
    )
    if usage.free >= needed:
        return ok("output_dir", found)
    advice = "make room, set output_dir=FOLDER on a larger disk, or lower train.keep_checkpoints"
    return (error if usage.free < one else warning)("output_dir", found, advice)


def _journal_bytes(config: RunConfig, group_bytes: int) -> int:
    """Groups as generated and as scored, of the steps between two checkpoints and those not trained yet."""
    if not config.queue.journal.enabled:
        return 0
    steps = min(config.train.save_every or config.train.num_steps, config.train.num_steps)
    num_groups = steps * config.train.groups_per_step + config.max_slots
    return min(config.queue.journal.max_bytes, (1 + config.uses_scorers) * num_groups * group_bytes)


def _ray_folder(folder: Path) -> Line:
    """Sockets and logs go there, and objects that find no room in memory."""
    problem = _problem(folder)
    if problem is not None:
        return error(
            "temporary folder", f"{folder} {problem}", "set RAY_TMPDIR to a folder that you may write"
        )
    usage = shutil.disk_usage(folder)
    share = 1.0 - usage.free / usage.total if usage.total else 1.0
    found = f"{in_bytes(usage.free)} free in {folder}, {share:.0%} full"
    if share >= FULL_SHARE:
        advice = (
            f"make room there (old sessions: `rm -r {folder}/session_*` while no Ray runs), or set RAY_TMPDIR"
        )
        return warning("temporary folder", f"{found}: Ray puts no objects on a disk so full", advice)
    return ok("temporary folder", found)
