"""Checkpoints that are whole or not there: the folders around DeepSpeed's own files.

    FOLDER/TAG/manifest.json      every file's size and hash, and what the checkpoint is of
    FOLDER/TAG/run_state.json     the driver's: where the queue, the prompts and the counters stood
    FOLDER/TAG/...                what DeepSpeed writes, each rank its part, and the ranks' random states
    FOLDER/.TAG.partial/          being written; one rename makes it TAG once its manifest is on disk
    FOLDER/.TAG.dropped/          being deleted

Owns which checkpoints there are, which are the newest and the best, and how one appears and goes. Not what
makes a folder whole (`manifest`), nor what the ranks write into it (`saving`, which calls this, as do
`mirror` and the driver's side of a resumed run). FOLDER must be one that all ranks share.
"""

import json
import math
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from pgpo_async.contracts import WeightError
from pgpo_async.learner import manifest

STATE = "run_state.json"
_LEFTOVERS = (".*.partial", ".*.dropped", ".*.universal")


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointInfo:
    """What a checkpoint is of. `step` counts optimizer steps done, `version` is that of the weights.

    Versions go on rising where a run goes back to an earlier step. `value` says how good the weights are
    (higher is better), None where that is not known. `skipped`: why newer ones could not be used instead.
    """

    tag: str
    step: int
    version: int
    world_size: int
    zero_stage: int
    value: float | None = None
    skipped: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"value must be finite or None, got {self.value}")

    def about(self) -> dict[str, Any]:
        """What the manifest says beside the files."""
        return {name: value for name, value in asdict(self).items() if name != "skipped"}

    @classmethod
    def of(cls, about: Mapping[str, Any], tag: str, where: str) -> "CheckpointInfo":
        """From a manifest in `where`, which must be of `tag`. Raises WeightError."""
        try:
            info = cls(**about)
        except (TypeError, ValueError) as error:
            raise WeightError(f"checkpoint {where}: its manifest must say what it is of: {error}") from error
        if info.tag != tag:
            raise WeightError(f"checkpoint {where}: its manifest must be of {tag!r}, got {info.tag!r}")
        return info


def partial(folder: Path, tag: str) -> Path:
    """Where a checkpoint is written before it is one."""
    return folder / f".{tag}.partial"


def prepare(folder: Path, tag: str, state: Mapping[str, Any] | None = None) -> Path:
    """Make room for a new checkpoint: one writer, before any rank saves. Drops what a crash left behind.

    Returns the folder to write into, with `state` already in it. Raises ValueError if the tag is no plain
    name, or is that of the newest checkpoint and that one is whole, or if JSON cannot hold the state.
    """
    text = _json(state or {})
    if not tag or Path(tag).name != tag or tag.startswith("."):
        raise ValueError(f"tag must be a plain name, got {tag!r}")
    newest = find(folder)[0][:1]
    if newest and newest[0].tag == tag and _is_whole(folder / tag):
        raise ValueError(f"tag must be new: {tag!r} is the latest checkpoint in {folder}")
    for pattern in _LEFTOVERS:
        for leftover in folder.glob(pattern):
            shutil.rmtree(leftover)
    home = partial(folder, tag)
    home.mkdir(parents=True)
    (home / STATE).write_text(text)
    return home


def commit(folder: Path, info: CheckpointInfo) -> None:
    """Make a saved checkpoint visible: one writer, after every rank has saved."""
    home = partial(folder, info.tag)
    manifest.write(home, info.about())
    manifest.sync_all(home)
    reveal(folder, info.tag)


def reveal(folder: Path, tag: str) -> None:
    """Rename what is written and has its manifest. A checkpoint of that name, not the newest, goes first."""
    if (folder / tag).exists():
        _drop(folder, tag)
    os.replace(partial(folder, tag), folder / tag)
    manifest.sync(folder)


def find(folder: Path) -> tuple[list[CheckpointInfo], tuple[str, ...]]:
    """All checkpoints with a good manifest, the highest step first, and what is wrong with the others.

    The files are not read: `verify` does that. Equal steps are in the order of their versions.
    """
    found, problems = [], []
    for home in sorted(folder.iterdir()) if folder.is_dir() else ():
        if home.name.startswith(".") or not home.is_dir():
            continue
        try:
            found.append(CheckpointInfo.of(manifest.read(home).about, home.name, str(home)))
        except WeightError as error:
            problems.append(str(error))
    return sorted(found, key=_age, reverse=True), tuple(problems)


def candidates(folder: Path, tag: str | None = None) -> tuple[list[CheckpointInfo], tuple[str, ...]]:
    """What a run may go on from: `tag` alone, or all as `find` gives them; neither where there is none.

    Raises WeightError if `tag` is not there or has no good manifest, or if no checkpoint has.
    """
    if tag is not None:
        home = folder / tag
        return [CheckpointInfo.of(manifest.read(home).about, tag, str(home))], ()
    found, problems = find(folder)
    if problems and not found:
        raise WeightError(f"{folder} must hold a checkpoint that can be read: {'; '.join(problems)}")
    return found, problems


def latest(folder: Path) -> CheckpointInfo | None:
    """The checkpoint of the highest step that has a good manifest; None where there is none at all.

    Raises WeightError if there are checkpoints and none of them has.
    """
    found, problems = candidates(folder)
    return replace(found[0], skipped=problems) if found else None


def verify(folder: Path, tag: str, *, part: int = 0, num_parts: int = 1) -> None:
    """Check a checkpoint's files, or a share of them: see `manifest.verify`. Raises WeightError."""
    manifest.verify(folder / tag, part=part, num_parts=num_parts)


def read_state(folder: Path, tag: str) -> dict[str, Any]:
    """What the driver gave `prepare`. Raises WeightError if it is not as it was written."""
    content = json.loads(manifest.read_file(folder / tag, STATE))
    assert isinstance(content, dict), f"{STATE} matches its checksum, so `prepare` wrote it"
    return content


def surplus(found: Sequence[CheckpointInfo], keep_last: int, keep_best: int) -> list[CheckpointInfo]:
    """Those of `found` that are neither among the newest `keep_last` (at least one) nor the best."""
    newest = sorted(found, key=_age, reverse=True)
    valued = [(info.value, info) for info in newest if info.value is not None]
    # Stable: of equally good ones the newest stays.
    best = [info for _, info in sorted(valued, key=lambda item: item[0], reverse=True)]
    kept = {info.tag for info in [*newest[: max(1, keep_last)], *best[:keep_best]]}
    return [info for info in newest if info.tag not in kept]


def prune(folder: Path, keep_last: int, keep_best: int, *, spare: Collection[str] = ()) -> list[str]:
    """Delete what is neither new nor good, but for the tags to `spare`: one writer. Returns what went.

    What has no good manifest stays: it may be somebody's, or be mended.
    """
    tags = [info.tag for info in surplus(find(folder)[0], keep_last, keep_best) if info.tag not in spare]
    for tag in tags:
        _drop(folder, tag)
    return tags


def _json(state: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(state))
    except (TypeError, ValueError) as error:
        raise ValueError(f"state must be what JSON can hold, got {error}") from error


def _age(info: CheckpointInfo) -> tuple[int, int]:
    return info.step, info.version


def _drop(folder: Path, tag: str) -> None:
    """Out of sight in one step, so that a kill leaves no half of it."""
    dropped = folder / f".{tag}.dropped"
    shutil.rmtree(dropped, ignore_errors=True)
    os.replace(folder / tag, dropped)
    manifest.sync(folder)
    shutil.rmtree(dropped, ignore_errors=True)


def _is_whole(home: Path) -> bool:
    try:
        manifest.verify(home)
    except (WeightError, OSError):
        return False
    return True
