"""Leave nothing behind: processes and shared memory of a run that ended, and of one that crashed."""

import shutil
from pathlib import Path

import psutil

from pgpo_async.actors.staging import clean_stale, run_staging_folder

SHARED_MEMORY = Path("/dev/shm")


def clean_before() -> list[str]:
    """Remove what crashed runs left in this node's shared memory; return the folders."""
    return [str(path) for path in clean_stale(SHARED_MEMORY)]


def clean_up(run_id: str, variable: str, *, grace_s: float = 5.0) -> list[str]:
    """End this run's processes and staged weights; return a line for each that should have been gone.

    A process belongs to the run if its environment holds `variable` with the run's id: that finds
    grandchildren (vLLM's engine core) whose parent has died. They get `grace_s` to end by themselves.
    """
    removed = [_end(process) for process in _processes(run_id, variable, grace_s)]
    folder = run_staging_folder(run_id, SHARED_MEMORY)
    if folder.exists():
        # Expected: actors only drop their hold, the folder goes when the run is over.
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            removed.append(f"shared memory {folder}")
    return removed


def _processes(run_id: str, variable: str, grace_s: float) -> list[psutil.Process]:
    own = psutil.Process()
    family = {own.pid, *(parent.pid for parent in own.parents())}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid not in family and process.environ().get(variable) == run_id:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    _, alive = psutil.wait_procs(found, timeout=grace_s)
    return list(alive)


def _end(process: psutil.Process) -> str:
    try:
        what = f"process {process.pid} {process.name()}"
        process.kill()
        process.wait(timeout=5)
    except (psutil.NoSuchProcess, psutil.TimeoutExpired):
        return f"process {process.pid}"
    return what
