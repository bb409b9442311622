"""Leave nothing behind: processes and shared memory of a run that ended, and of one that crashed.

Three things can stay on a node: processes (vLLM's engine core outlives an actor that is killed), staged
weights, and segments that libraries make in shared memory (vLLM's message ring, a process pool's locks) and
free only if they are closed politely. A run's processes carry its id in their environment, and the segments
are those that its processes have mapped. They are noted in the run's staging folder, so that the next run
can remove what a crashed one had. This node only: `orchestration.cluster` calls it on the driver's.
"""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from pgpo_async.actors.staging import clean_stale, run_staging_folder

SHARED_MEMORY = Path("/dev/shm")
NOTE_NAME = ".segments"
SEGMENT_PREFIXES = ("psm_", "sem.mp-")


def clean_before(root: Path = SHARED_MEMORY) -> list[Path]:
    """Remove what crashed runs left in this node's shared memory; return it."""
    notes = {note.parent: _noted(note) for note in root.glob(f"*/{NOTE_NAME}")}
    removed = clean_stale(root)
    segments = [segment for folder in removed for segment in notes.get(folder, ())]
    return removed + _unlink(segments)


def note_segments(run_id: str, variable: str, root: Path = SHARED_MEMORY) -> list[Path]:
    """Write down which segments the run's processes have mapped, for whoever must clean up after it."""
    segments = sorted(_mapped(run_id, variable, root))
    note = run_staging_folder(run_id, root) / NOTE_NAME
    note.write_text("".join(f"{segment.name}\n" for segment in segments), encoding="utf-8")
    return segments


def clean_up(
    run_id: str,
    variable: str,
    *,
    segments: Iterable[Path] = (),
    grace_s: float = 5.0,
    root: Path = SHARED_MEMORY,
) -> list[str]:
    """End this run's processes, staged weights and segments; return a line for each process that had to be.

    A process belongs to the run if its environment holds `variable` with the run's id; it gets `grace_s` to
    end by itself. Segments that outlived their polite end are removed with the staging folder, silently:
    that is what the note is for.
    """
    ended = [_end(process) for process in _survivors(run_id, variable, grace_s)]
    _unlink(segments)
    folder = run_staging_folder(run_id, root)
    shutil.rmtree(folder, ignore_errors=True)
    return ended + ([f"shared memory {folder}"] if folder.exists() else [])


def processes_of(run_id: str, variable: str) -> Iterator[psutil.Process]:
    """Iterate the run's processes on this node, but for this one and its parents."""
    own = psutil.Process()
    family = {own.pid, *(parent.pid for parent in own.parents())}
    for process in psutil.process_iter():
        try:
            if process.pid not in family and process.environ().get(variable) == run_id:
                yield process
        except psutil.Error:
            continue  # ended meanwhile, or another user's


def _mapped(run_id: str, variable: str, root: Path) -> set[Path]:
    found: set[Path] = set()
    for process in processes_of(run_id, variable):
        try:
            lines = Path(f"/proc/{process.pid}/maps").read_text(encoding="utf-8").splitlines()
        except OSError:
            continue
        paths = (Path(line.split(maxsplit=5)[5]) for line in lines if f"{root}/" in line)
        found |= {path for path in paths if path.parent == root and path.name.startswith(SEGMENT_PREFIXES)}
    return found


def _noted(note: Path) -> list[Path]:
    try:
        names = note.read_text(encoding="utf-8").split()
    except OSError:
        return []
    root = note.parent.parent
    return [root / name for name in names if name.startswith(SEGMENT_PREFIXES) and "/" not in name]


def _unlink(segments: Iterable[Path]) -> list[Path]:
    removed = []
    for segment in segments:
        if segment.exists():
            segment.unlink(missing_ok=True)
            removed.append(segment)
    return removed


def _survivors(run_id: str, variable: str, grace_s: float) -> list[psutil.Process]:
    _, alive = psutil.wait_procs(list(processes_of(run_id, variable)), timeout=grace_s)
    return list(alive)


def _end(process: psutil.Process) -> str:
    try:
        what = f"process {process.pid} {process.name()}"
        process.kill()
        process.wait(timeout=5)
    except psutil.Error:
        return f"process {process.pid}"
    return what
