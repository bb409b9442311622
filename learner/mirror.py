"""Copies of checkpoints behind a URL: any that fsspec knows (`s3://bucket/run`, `file:///...`).

    URL/TAG/...              the files, in their checkpoint's layout
    URL/TAG/manifest.json    comes last: with it the copy is there, without it it is not
    URL/TAG/uploading        comes first and goes last: who finds it without a manifest may delete the copy

Owns the order in which files arrive and go, and that what comes back is what was sent. Not when (`uploads`).
Stateless; one writer. Called by `uploads`, and by whoever resumes a run from a URL.
"""

import shutil
from pathlib import Path
from typing import Any

import fsspec

from pgpo_async.contracts import ConfigError, WeightError
from pgpo_async.learner import checkpoint, manifest
from pgpo_async.learner.checkpoint import CheckpointInfo

UPLOADING = "uploading"


def check(url: str) -> None:
    """Raise ConfigError if nothing here can write to `url`. Opens no connection where fsspec needs none."""
    _open(url)


def upload(folder: Path, tag: str, url: str) -> None:
    """Copy a checkpoint to `url`, in place of one of the same tag there. Raises OSError, WeightError."""
    files, root = _open(url)
    home = f"{root}/{tag}"
    entries = manifest.read(folder / tag).files
    _delete(files, home)
    files.makedirs(home, exist_ok=True)
    files.pipe_file(f"{home}/{UPLOADING}", b"")
    for name, entry in entries.items():
        target = f"{home}/{name}"
        files.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
        files.put_file(str(folder / tag / name), target)
        if (num_bytes := files.size(target)) != entry.num_bytes:
            raise WeightError(f"{url}: {tag}/{name} must hold {entry.num_bytes} bytes, got {num_bytes}")
    files.put_file(str(folder / tag / manifest.MANIFEST), f"{home}/{manifest.MANIFEST}")
    files.rm_file(f"{home}/{UPLOADING}")


def prune(url: str, keep_last: int, keep_best: int) -> list[str]:
    """Delete copies that are neither new nor good, as `checkpoint.prune`, and uploads that never ended.

    Returns the tags of the former. Raises OSError.
    """
    files, root = _open(url)
    tags = [info.tag for info in checkpoint.surplus(_found(files, root), keep_last, keep_best)]
    for tag in tags:
        _delete(files, f"{root}/{tag}")
    for home in _homes(files, root):
        if files.exists(f"{home}/{UPLOADING}") and not files.exists(f"{home}/{manifest.MANIFEST}"):
            _delete(files, home)
    return tags


def latest_remote(url: str) -> CheckpointInfo | None:
    """The whole copy of the highest step, None where there is none. Raises OSError, ConfigError."""
    return max(_found(*_open(url)), key=lambda info: (info.step, info.version), default=None)


def download(url: str, tag: str, folder: Path) -> CheckpointInfo:
    """Copy a checkpoint into `folder`, where it appears verified and whole or not at all: one writer.

    It takes the place of one of the same tag. Raises OSError, and WeightError if it is not what was uploaded.
    """
    files, root = _open(url)
    text = files.cat_file(f"{root}/{tag}/{manifest.MANIFEST}").decode()
    found = manifest.parse(text, f"{url}: {tag}/{manifest.MANIFEST}")
    info = CheckpointInfo.of(found.about, tag, f"{url}: {tag}")
    home = checkpoint.partial(folder, tag)
    shutil.rmtree(home, ignore_errors=True)
    for name in found.files:
        target = home / name
        target.parent.mkdir(parents=True, exist_ok=True)
        files.get_file(f"{root}/{tag}/{name}", str(target))
    (home / manifest.MANIFEST).write_text(text)
    manifest.verify(home)
    manifest.sync_all(home)
    checkpoint.reveal(folder, tag)
    return info


def _open(url: str) -> tuple[Any, str]:
    """The file system of a URL and the path in it, without a slash at its end."""
    try:
        files, root = fsspec.url_to_fs(url)
    except (ImportError, ValueError) as error:
        message = f"train.checkpoint_url must be a URL that fsspec can open, got {url!r}: {error}"
        raise ConfigError(message) from error
    files.invalidate_cache()  # of listings, which other processes may have changed
    return files, root.rstrip("/")


def _found(files: Any, root: str) -> list[CheckpointInfo]:
    found = []
    for home in _homes(files, root):
        path, tag = f"{home}/{manifest.MANIFEST}", home.rsplit("/", 1)[-1]
        try:
            about = manifest.parse(files.cat_file(path).decode(), path).about
            found.append(CheckpointInfo.of(about, tag, home))
        except (FileNotFoundError, WeightError, UnicodeDecodeError):
            continue  # not whole, or not ours
    return found


def _homes(files: Any, root: str) -> list[str]:
    if not files.exists(root):
        return []
    entries = files.ls(root, detail=True)
    return sorted(entry["name"].rstrip("/") for entry in entries if entry["type"] == "directory")


def _delete(files: Any, home: str) -> None:
    """The manifest first: from then on the copy is not there."""
    if not files.exists(home):
        return
    if files.exists(f"{home}/{manifest.MANIFEST}"):
        files.pipe_file(f"{home}/{UPLOADING}", b"")
        files.rm_file(f"{home}/{manifest.MANIFEST}")
    files.rm(home, recursive=True)
