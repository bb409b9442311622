"""A run's folder in a node's shared memory: who is alive in it, and how a dead one is removed.

Every process that uses a folder holds a shared lock on its `.alive` file for as long as it lives. Nobody
holds the lock of a crashed run, so taking it alone proves that the folder is no one's: no process ids, which
are reused and mean nothing in another container. Called by `staging`.

The race between removing and entering: the remover, holding the lock alone, first renames the folder. Who
opened `.alive` before that gets its lock on a file that is no longer at its path, sees it, and begins again
in a new folder; who comes later never meets the old one.
"""

import shutil
import time
import uuid
from pathlib import Path

from pgpo_async.actors.file_locks import FileLock
from pgpo_async.contracts import WaitTimeout

PREFIX = "pgpo_async-"
ALIVE = ".alive"
_DEAD = f"{PREFIX}dead-"


def run_staging_folder(run_id: str, root: Path) -> Path:
    """Return the folder of a run. Raises ValueError for an id that is no file name."""
    if not run_id or "/" in run_id or run_id.startswith("dead-"):
        raise ValueError(f"run_id must be a file name not starting with 'dead-', got {run_id!r}")
    return root / f"{PREFIX}{run_id}"


def enter(folder: Path, timeout_s: float = 10.0) -> FileLock:
    """Make the folder if need be and return the lock that says its holder is alive.

    Raises WaitTimeout if another process keeps removing it.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = FileLock(folder / ALIVE)
        except FileNotFoundError:
            pass  # removed between the two lines above
        except FileExistsError:
            # It was there, and was removed before `mkdir` could see that it is a folder.
            if folder.exists():
                raise
        else:
            remaining_s = max(deadline - time.monotonic(), 0.0)
            try:
                lock.lock(shared=True, timeout_s=remaining_s, waiting_for=f"{folder} to be cleaned")
            except WaitTimeout:
                lock.close()
                raise
            if lock.is_at(folder / ALIVE):
                return lock
            lock.close()
        if time.monotonic() >= deadline:
            raise WaitTimeout(f"{folder} to stay", timeout_s, "another process keeps removing it")


def remove_if_dead(folder: Path) -> bool:
    """Remove a folder unless someone is alive in it; whether this call removed it."""
    try:
        lock = FileLock(folder / ALIVE)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return False  # gone already, no folder, or another user's
    try:
        if not lock.try_lock(shared=False) or not lock.is_at(folder / ALIVE):
            return False
        grave = folder.with_name(f"{_DEAD}{uuid.uuid4().hex}")
        folder.rename(grave)
        # A remover killed in the middle of this leaves a folder that the next one finds by its prefix.
        shutil.rmtree(grave, ignore_errors=True)
        return True
    except (FileNotFoundError, PermissionError):
        return False
    finally:
        lock.close()


def clean_stale(root: Path = Path("/dev/shm")) -> list[Path]:
    """Remove the folders of runs that nobody is alive in; return them. Those in use stay."""
    return [folder for folder in sorted(root.glob(f"{PREFIX}*")) if remove_if_dead(folder)]
