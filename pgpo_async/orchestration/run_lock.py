"""Whether a run is under way: its driver holds a lock in the folder, which the kernel drops with it."""

from pathlib import Path

from pgpo_async.actors.file_locks import FileLock

LOCK_NAME = ".lock"
"""Locked as long as the run's driver lives."""


def is_locked(folder: Path) -> bool:
    """Whether a driver that lives has this run."""
    if not (folder / LOCK_NAME).exists():
        return False
    lock = FileLock(folder / LOCK_NAME)
    try:
        return not lock.try_lock(shared=False)
    finally:
        lock.close()
