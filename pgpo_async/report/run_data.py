"""A run folder, read: what the report is about, and what of it is missing.

Owns the folder's reading as a whole, and the run's status. Everything but a folder that is no run's is read
as far as it goes. What the parts hold is the work of `step_table`, `run_events` and `run_quarantine`. Called
by `report_command`.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pgpo_async.config.files import read_file
from pgpo_async.contracts import ConfigError
from pgpo_async.metrics.run_lock import is_locked
from pgpo_async.report.run_events import Event, read_events
from pgpo_async.report.run_files import (
    JsonLines,
    as_count,
    as_mapping,
    as_number,
    read_object,
    read_text,
)
from pgpo_async.report.run_quarantine import QuarantinedKind, read_quarantine_counts
from pgpo_async.report.step_table import StepTable, read_steps

UNDER_WAY = "under way"
NO_SUMMARY = "ended without a summary"
STATUSES = ("completed", "interrupted", "failed")
"""Of a summary."""

MAX_CONFIG_CHARACTERS = 200_000
_MARKS_OF_A_RUN = ("config.yaml", "metrics.jsonl", "summary.json", "events.jsonl")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunData:
    """One run. `settings` are the config's values as written, nested; `missing` tells what is not there."""

    folder: Path
    status: str
    steps: StepTable
    read_s: float
    """When it was read, seconds since the epoch."""
    began_s: float | None = None
    """When the first thing that is known of happened, seconds since the epoch."""
    ended_s: float | None = None
    """When the last one did."""
    summary: Mapping[str, Any] = field(default_factory=dict)
    standing: Mapping[str, Any] = field(default_factory=dict)
    """How it stood when its driver last told (`status.json`), where there is no summary."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    config_text: str = ""
    events: Sequence[Event] = ()
    undone: Sequence[int] = ()
    """Steps that were done again after the learner went back to a checkpoint, one for each time."""
    evaluated: Sequence[tuple[int, float]] = ()
    """Held-out accuracy while training went on, by step."""
    num_resumes: int = 0
    quarantined: Sequence[QuarantinedKind] = ()
    missing: Sequence[str] = ()

    @property
    def name(self) -> str:
        """The folder's name, which no other run has."""
        return self.folder.name

    def setting(self, path: str) -> Any:
        """Return a field of the config by its dotted path; None where it is not there."""
        found: Any = self.settings
        for key in path.split("."):
            found = as_mapping(found).get(key)
        return found

    @property
    def told(self) -> Mapping[str, Any]:
        """The books: the summary, or, while there is none, what the driver last told under the same names."""
        if self.summary:
            return self.summary
        queue, restarts = as_mapping(self.standing.get("queue")), as_mapping(self.standing.get("restarts"))
        return {
            "accounting": queue.get("accounting"),
            "accounting_balanced": queue.get("balanced"),
            "quarantined_by_reason": queue.get("quarantined_by_reason"),
            "lag_histogram": queue.get("lag_histogram"),
            "max_lag_allowed": self.standing.get("max_lag"),
            "restarts": sum(as_count(count) or 0 for count in restarts.values()) if restarts else None,
        }

    @property
    def max_lag(self) -> int | None:
        """The bound of the lag."""
        told = as_count(self.told.get("max_lag_allowed"))
        if told is not None:
            return told
        return 0 if self.setting("mode") == "sync" else as_count(self.setting("train.max_lag"))


def read_run_data(folder: Path) -> RunData:
    """Read a run's folder. Raises ConfigError where it is none."""
    check_run_folder(folder)
    missing: list[str] = []
    config_text, settings = _config(folder, missing)
    steps = read_steps(folder / "metrics.jsonl")
    if not (folder / "metrics.jsonl").is_file():
        missing.append("metrics.jsonl is not there: the run has finished no step")
    elif not len(steps.steps):
        missing.append("metrics.jsonl holds no step")
    _tell_lines(missing, "metrics.jsonl", steps.num_unreadable)
    events, num_unreadable = read_events(folder / "events.jsonl")
    _tell_lines(missing, "events.jsonl", num_unreadable)
    if not (folder / "events.jsonl").is_file():
        missing.append("events.jsonl is not there: deaths, restarts and resumes are not known")
    quarantined, damaged = read_quarantine_counts(folder)
    missing += [f"{name} could not be read" for name in damaged]
    summary = read_object(folder / "summary.json")
    locked = is_locked(folder)
    if summary is None and (folder / "summary.json").exists():
        missing.append("summary.json could not be read")
    began_s, ended_s = _ends(steps, events)
    return RunData(
        folder=folder,
        began_s=began_s,
        ended_s=ended_s,
        status=_status(summary, locked),
        steps=steps,
        read_s=time.time(),
        summary=summary or {},
        standing={} if summary else read_object(folder / "status.json") or {},
        settings=settings,
        config_text=config_text,
        events=events,
        undone=_undone(folder, missing),
        evaluated=_evaluated(folder, missing),
        num_resumes=len(list(folder.glob("config-*.yaml"))),
        quarantined=quarantined,
        missing=missing,
    )


def check_run_folder(folder: Path) -> None:
    """Raise ConfigError, with the runs that are near, unless the folder is a run's."""
    if any((folder / name).is_file() for name in _MARKS_OF_A_RUN):
        return
    if not folder.is_dir():
        raise ConfigError(f"{folder}: must be the folder of a run, got {_what(folder)}")
    inside = [path for path in folder.iterdir() if (path / "config.yaml").is_file()]
    newest = sorted(inside, key=lambda path: path.stat().st_mtime)[-3:]
    runs = f"; runs in it: {', '.join(str(path) for path in reversed(newest))}" if newest else ""
    raise ConfigError(
        f"{folder}: must be the folder of a run, got one without any of {', '.join(_MARKS_OF_A_RUN)}{runs}"
    )


def _status(summary: Mapping[str, Any] | None, locked: bool) -> str:
    told = (summary or {}).get("status")
    if told in STATUSES:
        return str(told)
    return UNDER_WAY if locked else NO_SUMMARY


def _ends(steps: StepTable, events: Sequence[Event]) -> tuple[float | None, float | None]:
    told_s = [event.time_s for event in events if event.time_s is not None]
    ends_s = steps.column("time_s")
    starts_s = ends_s - np.nan_to_num(steps.column("step_s"))
    known = np.isfinite(ends_s) & (starts_s > 0)
    firsts = [*told_s, *([float(starts_s[known].min())] if known.any() else [])]
    lasts = [*told_s, *([float(ends_s[known].max())] if known.any() else [])]
    return min(firsts, default=None), max(lasts, default=None)


def _config(folder: Path, missing: list[str]) -> tuple[str, Mapping[str, Any]]:
    text = read_text(folder / "config.yaml", MAX_CONFIG_CHARACTERS)
    if text is None:
        missing.append("config.yaml could not be read: model, method and bounds are not known")
        return "", {}
    try:
        # As written, without the schema: a run of another version is shown as well.
        document = read_file(folder / "config.yaml")
    except ConfigError as error:
        missing.append(f"config.yaml could not be understood: {error.message}")
        return text, {}
    if document.issues:
        missing.append(f"config.yaml could not be understood: {document.issues[0].message}")
    return text, as_mapping(document.value)


def _undone(folder: Path, missing: list[str]) -> list[int]:
    lines = JsonLines(folder / "rolled_back.jsonl")
    steps = [as_count(row.get("step")) for row in lines]
    _tell_lines(missing, "rolled_back.jsonl", lines.num_unreadable + steps.count(None))
    return [step for step in steps if step is not None]


def _evaluated(folder: Path, missing: list[str]) -> list[tuple[int, float]]:
    lines = JsonLines(folder / "evaluations.jsonl")
    found = [(as_count(row.get("step")), as_number(row.get("accuracy"))) for row in lines]
    known = [(step, value) for step, value in found if step is not None and value is not None]
    _tell_lines(missing, "evaluations.jsonl", lines.num_unreadable + len(found) - len(known))
    return known


def _tell_lines(missing: list[str], name: str, num_unreadable: int) -> None:
    if num_unreadable:
        lines = "1 line" if num_unreadable == 1 else f"{num_unreadable} lines"
        missing.append(
            f"{name}: {lines} could not be read and {'is' if num_unreadable == 1 else 'are'} left out"
        )


def _what(path: Path) -> str:
    return "a file" if path.exists() else "no such folder"
