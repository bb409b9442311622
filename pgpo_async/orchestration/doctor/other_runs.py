"""Who else is on this machine: other Rays, and what dead runs have left behind. Looks, and removes nothing.

By the marks that `leftovers` and `run_folders` go by: a run's processes carry its id, and somebody holds the
lock of its folder in shared memory as long as anyone of it lives.
"""

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from pgpo_async.actors.file_locks import FileLock
from pgpo_async.actors.process_mark import RUN_ID_VARIABLE
from pgpo_async.actors.run_folders import ALIVE, PREFIX, run_staging_folder
from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.doctor.lines import Line, ok, shortened, warning
from pgpo_async.orchestration.doctor.machine import Machine
from pgpo_async.orchestration.planning.units import in_bytes

_CONTROL_STORE = "gcs_server"
_PORT_OPTION = "--gcs_server_port="
_MOST_NAMED = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A process: `run_id` where it carries one, `ray_port` where it is a Ray's control store."""

    pid: int
    parent_pid: int
    name: str
    user: str
    started_s: float
    run_id: str = ""
    ray_port: str | None = None


def check_other_runs(config: RunConfig, machine: Machine) -> Iterator[Line]:
    """Yield lines on other Rays, the address that one left, and on leftovers."""
    processes = list(_processes())
    yield from ray_lines(config, machine, processes, now_s=time.time())
    root = machine.shared_memory
    if not os.access(root, os.W_OK):
        return  # whether a run lives cannot be known without
    folders = [folder for folder in sorted(root.glob(f"{PREFIX}*")) if is_dead(folder)]
    yield from leftover_lines(folders, [each for each in processes if _is_orphan(each, root)])


def _processes() -> Iterator[Seen]:
    own = psutil.Process()
    family = {own.pid, *(parent.pid for parent in own.parents())}
    for process in psutil.process_iter():
        try:
            if process.pid in family or process.status() == psutil.STATUS_ZOMBIE:
                continue
            name = process.name()
            command = process.cmdline() if name == _CONTROL_STORE else []
            ports = [part.removeprefix(_PORT_OPTION) for part in command if part.startswith(_PORT_OPTION)]
            yield Seen(
                pid=process.pid,
                parent_pid=process.ppid(),
                name=name,
                user=process.username(),
                started_s=process.create_time(),
                run_id=_run_id(process),
                ray_port=next(iter(ports), "?") if name == _CONTROL_STORE else None,
            )
        except psutil.Error:
            continue  # ended meanwhile


def _run_id(process: psutil.Process) -> str:
    try:
        return process.environ().get(RUN_ID_VARIABLE, "")
    except psutil.Error:
        return ""  # another user's


def ray_lines(
    config: RunConfig, machine: Machine, processes: Iterable[Seen], *, now_s: float
) -> Iterator[Line]:
    """Yield a line for each other Ray, or one that says there is none, and one on an address left behind."""
    others = [each for each in processes if each.ray_port is not None]
    joins = config.ray.address is not None
    if not others:
        yield ok("other Ray", "none runs on this machine")
    for each in others:
        whose = f" of run {each.run_id}" if each.run_id else ""
        minutes = (now_s - each.started_s) / 60
        found = f"one{whose} runs here: process {each.pid} of {each.user}, since {minutes:.0f} min"
        if joins:
            yield ok("other Ray", found)
        else:
            yield warning(
                "other Ray",
                f"{found}; two share cores, memory and GPUs without knowing of each other",
                "wait for it, join it with ray.address=auto, or end it if it is nobody's: "
                f"`kill {each.pid}` (not `ray stop`, which ends every Ray of yours)",
            )
    if config.ray.address == "auto" and not machine.environ.get("RAY_ADDRESS") and not others:
        yield from _stale_address(machine.ray_folder / "ray_current_cluster")


def _stale_address(file: Path) -> Iterator[Line]:
    try:
        address = file.read_text(encoding="utf-8").strip()
    except OSError:
        return
    yield warning(
        "other Ray",
        f"{file} names {address}, which does not run on this machine: ray.address=auto would go there",
        f"run `rm {file}` if it is a dead one's, or set ray.address=HOST:PORT",
    )


def is_dead(folder: Path) -> bool:
    """Whether nobody is alive in a run's folder. Takes its lock for a moment, as whoever cleans up does."""
    try:
        if not (folder / ALIVE).exists():
            return folder.is_dir()
        lock = FileLock(folder / ALIVE)
    except OSError:
        return False  # gone, or another user's
    try:
        return lock.try_lock(shared=False)
    finally:
        lock.close()


def _is_orphan(process: Seen, root: Path) -> bool:
    """Whether a process carries the id of a run that nobody is alive in."""
    if not process.run_id:
        return False
    try:
        folder = run_staging_folder(process.run_id, root)
    except ValueError:
        return False
    # A node without engines and scorers has no such folder: there only a lost parent tells.
    return is_dead(folder) if folder.exists() else process.parent_pid == 1


def leftover_lines(folders: list[Path], orphans: list[Seen]) -> Iterator[Line]:
    """Yield what is left, and how it goes."""
    if folders:
        size = sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file())
        names = shortened(", ".join(folder.name for folder in folders))
        yield warning(
            "leftovers",
            f"{len(folders)} folders of dead runs hold {in_bytes(size)} of shared memory: {names}",
            f"the next launch removes them; or `rm -r {folders[0].parent}/{PREFIX}*` while no run is on",
        )
    if orphans:
        named = ", ".join(f"{each.pid} ({each.name} of {each.run_id})" for each in orphans[:_MOST_NAMED])
        more = f" and {len(orphans) - _MOST_NAMED} more" if len(orphans) > _MOST_NAMED else ""
        yield warning(
            "leftovers",
            f"processes of dead runs still live: {named}{more}",
            f"run `kill {' '.join(str(each.pid) for each in orphans)}`",
        )
    if not folders and not orphans:
        yield ok("leftovers", "none of dead runs")
