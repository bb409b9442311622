"""Checkpoints that are whole or not there: what surrounds DeepSpeed's own files.

    FOLDER/latest.json            {"tag": ...}, replaced in one step after all else is on disk
    FOLDER/TAG/manifest.json      every file's size and xxh3-128, the world size, the ZeRO stage, the step
    FOLDER/TAG/...                what DeepSpeed writes, each rank its part

Owns the pointer and the manifest; DeepSpeed's `save_checkpoint` and `load_checkpoint` are called by `worker`.
DeepSpeed unpickles what it loads, so nothing is loaded that does not match a manifest that this module wrote.
FOLDER must be one that all ranks share.
"""

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import xxhash

from pgpo_async.contracts import WeightError

POINTER = "latest.json"
MANIFEST = "manifest.json"
_CHUNK_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointInfo:
    """What a checkpoint is of. `step` counts optimizer steps done."""

    tag: str
    step: int
    world_size: int
    zero_stage: int


def prepare(folder: Path, tag: str) -> None:
    """Make room for a new checkpoint: one writer, before any rank saves. Drops what a crash left there.

    Raises ValueError if the tag is no plain name, or is the checkpoint that the pointer names.
    """
    if not tag or Path(tag).name != tag:
        raise ValueError(f"tag must be a plain name, got {tag!r}")
    if _pointed(folder) == tag:
        raise ValueError(f"tag must be new: {tag!r} is the latest checkpoint in {folder}")
    if (folder / tag).exists():
        shutil.rmtree(folder / tag)
    (folder / tag).mkdir(parents=True)


def commit(folder: Path, info: CheckpointInfo) -> None:
    """Make a saved checkpoint the latest: one writer, after every rank has saved."""
    home = folder / info.tag
    files = {}
    for path in _files(home):
        files[path.relative_to(home).as_posix()] = {"num_bytes": path.stat().st_size, "xxh3": _hash(path)}
        _sync(path)
    for path in [home, *(p for p in home.rglob("*") if p.is_dir())]:
        _sync(path)
    _write(home / MANIFEST, {**asdict(info), "files": files})
    _write(folder / POINTER, {"tag": info.tag})


def latest(folder: Path) -> CheckpointInfo | None:
    """The checkpoint that the pointer names, None where there is none yet.

    Raises WeightError if the pointer or the manifest is broken.
    """
    tag = _pointed(folder)
    if tag is None:
        return None
    manifest = _read(folder / tag / MANIFEST)
    try:
        info = CheckpointInfo(**{name: manifest[name] for name in CheckpointInfo.__slots__})
    except KeyError as error:
        raise WeightError(f"checkpoint {folder / tag}: manifest must hold {error}, got none") from error
    if info.tag != tag:
        raise WeightError(f"checkpoint {folder / tag}: manifest must be of {tag!r}, got {info.tag!r}")
    return info


def verify(folder: Path, tag: str, *, part: int = 0, num_parts: int = 1) -> None:
    """Check files against the manifest: every `num_parts`-th, so that the ranks can share the reading.

    Raises WeightError naming the first file that is missing, extra, or different.
    """
    home = folder / tag
    expected = _read(home / MANIFEST).get("files", {})
    found = {path.relative_to(home).as_posix() for path in _files(home)}
    if found != set(expected):
        wrong = sorted(found ^ set(expected))[0]
        raise WeightError(f"checkpoint {home} must hold the files of its manifest, differs in {wrong}")
    for name in sorted(expected)[part::num_parts]:
        if _hash(home / name) != expected[name]["xxh3"]:
            raise WeightError(f"checkpoint {home}: {name} does not match its checksum")


def _pointed(folder: Path) -> str | None:
    if not (folder / POINTER).is_file():
        return None
    tag = _read(folder / POINTER).get("tag")
    if not isinstance(tag, str) or Path(tag).name != tag:
        raise WeightError(f"{folder / POINTER} must name a tag, got {tag!r}")
    return tag


def _files(home: Path) -> list[Path]:
    return sorted(path for path in home.rglob("*") if path.is_file() and path != home / MANIFEST)


def _hash(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise WeightError(f"{path} must be readable JSON: {error}") from error
    if not isinstance(content, dict):
        raise WeightError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return content


def _write(path: Path, content: dict[str, Any]) -> None:
    """Replace a file in one step, on disk before and after."""
    new = path.with_name(f".{path.name}.new")
    with new.open("w") as file:
        json.dump(content, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    _sync(path.parent)
