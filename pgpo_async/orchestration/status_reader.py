"""A running job's `status.json`, and what can be seen beside it: whether its driver lives, who is stopped.

Reads files and /proc only, so it answers while the job hangs; imports nothing heavy, so it answers at once.
What is in the file is `status_file`'s, how it looks `status_view`'s.
"""

import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pgpo_async.metrics.run_lock import is_locked
from pgpo_async.report.run_files import as_object, read_object

STATUS_NAME = "status.json"
LATE_S = 10.0
"""A driver that has written nothing for so long beyond its habit is called late."""
NUM_STEPS, NUM_EVENTS = 5, 5
TAIL_BYTES = 64 << 10

State = Literal["running", "late", "starting", "ended"]


class NoRun(Exception):
    """There is no run folder where one was named; the message says so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """`live` is `status.json` ({} before the first), `age_s` old. `stuck` are lines, the worst first."""

    run: Path
    state: State
    age_s: float
    live: Mapping[str, Any]
    stuck: Sequence[str]
    steps: Sequence[Mapping[str, Any]]
    """The last lines of metrics.jsonl."""
    events: Sequence[Mapping[str, Any]]
    summary: Mapping[str, Any] | None

    def as_json(self) -> dict[str, Any]:
        """The same for scripts."""
        return {
            "run": str(self.run),
            "state": self.state,
            "age_s": self.age_s,
            "stuck_lines": list(self.stuck),
            **self.live,
            "last_step": self.steps[-1] if self.steps else None,
            "events": list(self.events),
            "summary": self.summary,
        }


def find_run(folder: Path) -> Path:
    """Return a run folder: this one, or the newest run in it, those under way first. Raises NoRun."""
    if (folder / "config.yaml").is_file():
        return folder
    runs = sorted(folder.glob("*/config.yaml"), key=lambda path: path.stat().st_mtime, reverse=True)
    if not runs:
        raise NoRun(f"{folder} must be a run folder (with its config.yaml), or hold some, got neither")
    return next((path.parent for path in runs if is_locked(path.parent)), runs[0].parent)


def read_status(run: Path) -> Status:
    """Return how a run stands."""
    now_s = time.time()
    live = read_object(run / STATUS_NAME) or {}
    age_s = now_s - live["time_s"] if live else 0.0
    ended = not is_locked(run)
    late = bool(live) and age_s > LATE_S + 2 * live["every_s"]
    state: State = "ended" if ended else "late" if late else "running" if live else "starting"
    return Status(
        run=run,
        state=state,
        age_s=age_s,
        live=live,
        stuck=() if ended else (*_driver_line(live, late, age_s), *_actor_lines(live, now_s)),
        steps=_last_lines(run / "metrics.jsonl", NUM_STEPS),
        events=_last_lines(run / "events.jsonl", NUM_EVENTS),
        summary=read_object(run / "summary.json") if ended else None,
    )


def _driver_line(live: Mapping[str, Any], late: bool, age_s: float) -> list[str]:
    if not late:
        return []
    why = process_state(live["host"], live["pid"])
    return [f"the driver has said nothing for {age_s:.0f} s{f': {why}' if why else ''}"]


def _actor_lines(live: Mapping[str, Any], now_s: float) -> list[str]:
    passed_s = now_s - live.get("time_s", now_s)
    by_name = {actor["name"]: actor for actor in live.get("actors", ())}
    lines = []
    for stuck in live.get("stuck", ()):
        actor = by_name[stuck["name"]]
        silent_s = stuck["silent_for_s"] + passed_s
        since = time.strftime("%H:%M:%S", time.localtime(now_s - silent_s))
        why = process_state(actor["host"], actor["pid"])
        lines.append(
            f"{actor['role']} is stuck: {stuck['name']} has not answered since {since} ({silent_s:.0f} s)"
            f"{f', {why}' if why else ''}; last it was at: {stuck['doing']}"
        )
    return lines


def process_state(host: str | None, pid: int | None) -> str:
    """What the kernel says of a process on this machine, if it is unusual."""
    if pid is None or host != socket.gethostname():
        return ""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return "its process is gone"
    return {"T": "stopped by a signal (SIGSTOP)", "Z": "its process is dead", "D": "waits for a disk"}.get(
        fields[0], ""
    )


def _last_lines(path: Path, count: int) -> list[dict[str, Any]]:
    """The last lines that can be read, without the whole of a long file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - TAIL_BYTES))
            lines = file.read().splitlines()
    except OSError:
        return []
    found = [as_object(line) for line in lines[-count - 1 :]]  # one may be torn, or cut in two by the tail
    return [item for item in found if item][-count:]
