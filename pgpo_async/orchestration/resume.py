"""Which run `launch --resume` goes on with, and whether it may.

    never    a new run
    auto     the newest run of the config's name in its output_dir that is not completed; a new one if none is
    PATH     a run folder, or one of its checkpoints

Owns the choice. What is loaded is `checkpoints`' work. Called by `launch`.
"""

import difflib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgpo_async.config import load_config
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.metrics.run_lock import LOCK_NAME, is_locked

FIXED = (
    *("model.path", "model.dtype", "generation.group_size", "data.seed"),
    *("data.source", "data.sources", "data.columns", "data.require_image"),
)
"""What a run cannot change on its way: its weights and its drawing order would not be those it began with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResumePoint:
    """A run folder, and the checkpoint to go on from (None: its latest)."""

    folder: Path
    tag: str | None = None


def find_resume(config: RunConfig, spec: str) -> ResumePoint | None:
    """Return where to go on; None for a new run.

    Raises ConfigError if `spec` is no run, or one that this config cannot go on with.
    """
    if spec == "never":
        return None
    if spec == "auto":
        for folder in _unfinished(config):
            if not is_locked(folder) and not _differences(config, folder):
                return ResumePoint(folder=folder)
        return None
    point = _point(Path(spec).expanduser(), spec)
    if _status(point.folder) == "completed":
        raise ConfigError(f"--resume: {point.folder} is completed; start a new run, or from its model/")
    if is_locked(point.folder):
        raise ConfigError(f"--resume: {point.folder} is still running (it holds {LOCK_NAME})")
    if differences := _differences(config, point.folder):
        raise ConfigError([f"--resume: {line}" for line in differences])
    return point


def _point(path: Path, spec: str) -> ResumePoint:
    if (path / "config.yaml").is_file():
        return ResumePoint(folder=path.absolute())
    if path.parent.name == "checkpoints" and (path.parent.parent / "config.yaml").is_file() and path.is_dir():
        return ResumePoint(folder=path.parent.parent.absolute(), tag=path.name)
    near = difflib.get_close_matches(spec, ["auto", "never"], n=1)
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    close = [str(path.parent / name) for name in difflib.get_close_matches(path.name, names, n=1)]
    hint = f": did you mean {(near or close)[0]!r}?" if near or close else ""
    raise ConfigError(
        f"--resume: must be auto, never, a run folder (with its config.yaml) or one of its checkpoints, "
        f"got {spec!r}{hint}"
    )


def _unfinished(config: RunConfig) -> Iterator[Path]:
    """Runs of the config's name, the newest first."""
    if not config.output_path.is_dir():
        return
    found = []
    for path in config.output_path.iterdir():
        if (path / "config.yaml").is_file() and _status(path) != "completed":
            try:
                name = load_config(path / "config.yaml").name
            except ConfigError:
                continue  # of another version of the program, or torn
            if name == config.name:
                found.append((path.stat().st_mtime, path.absolute()))
    yield from (path for _, path in sorted(found, reverse=True))


def _status(folder: Path) -> str | None:
    try:
        summary: Any = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
        return str(summary["status"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _differences(config: RunConfig, folder: Path) -> list[str]:
    before = load_config(folder / "config.yaml")
    return [
        f"{field}: the run in {folder.name} has {_field(before, field)!r}, got {_field(config, field)!r}"
        for field in FIXED
        if _field(before, field) != _field(config, field)
    ]


def _field(config: RunConfig, field: str) -> Any:
    value: Any = config
    for name in field.split("."):
        value = getattr(value, name)
    return value
