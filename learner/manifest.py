"""The manifest of a folder of files: what makes it whole, and what nothing may be loaded without.

Owns how the files of a folder are listed, hashed, brought to disk and compared, and the manifest's own
checksum. Not which folders there are, nor what the manifest says beside the files: that is `checkpoint`'s.
Called by `checkpoint`, `mirror` and `universal`.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import xxhash

from pgpo_async.contracts import WeightError

MANIFEST = "manifest.json"
_OWN_CHECKSUM = "manifest_xxh3"
_CHUNK_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class FileEntry:
    """What a file must be: its size, and its xxh3-128 in hexadecimal."""

    num_bytes: int
    xxh3: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """`about` is what the writer said of the folder; `files` by path inside it, with forward slashes."""

    about: Mapping[str, Any]
    files: Mapping[str, FileEntry]


def write(home: Path, about: Mapping[str, Any]) -> None:
    """Write the manifest of all files under `home`."""
    files = {}
    for path in _files(home):
        name = path.relative_to(home).as_posix()
        files[name] = asdict(FileEntry(num_bytes=path.stat().st_size, xxh3=_hash(path)))
    content = {**about, "files": files}
    text = json.dumps({**content, _OWN_CHECKSUM: _checksum(content)}, indent=2)
    (home / MANIFEST).write_text(text)


def read(home: Path) -> Manifest:
    """The manifest of a folder. Raises WeightError if it is missing or not as it was written."""
    path = home / MANIFEST
    try:
        text = path.read_text()
    except (OSError, ValueError) as error:
        raise WeightError(f"{path} must be readable: {error}") from error
    return parse(text, str(path))


def parse(text: str, where: str) -> Manifest:
    """A manifest's text; `where` names it in messages. Raises WeightError if it is not as it was written."""
    try:
        content = json.loads(text)
    except ValueError as error:
        raise WeightError(f"{where} must be JSON: {error}") from error
    if not isinstance(content, dict):
        raise WeightError(f"{where} must hold a JSON object, got {type(content).__name__}")
    if content.pop(_OWN_CHECKSUM, None) != _checksum(content):
        raise WeightError(f"{where} does not match its own checksum")
    try:
        files = {_inside(name): FileEntry(**entry) for name, entry in content.pop("files").items()}
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise WeightError(f"{where} must list the files of its folder: {error}") from error
    return Manifest(about=content, files=files)


def verify(home: Path, *, part: int = 0, num_parts: int = 1) -> None:
    """Check files against the manifest: every `num_parts`-th, so that several can share the reading.

    Raises WeightError naming the first file that is missing, extra, or different.
    """
    expected = read(home).files
    found = {path.relative_to(home).as_posix() for path in _files(home)}
    if found != set(expected):
        wrong = sorted(found ^ set(expected))[0]
        kind = "lacks" if wrong in expected else "has beside them"
        raise WeightError(f"checkpoint {home} must hold the files of its manifest, {kind} {wrong}")
    for name in sorted(expected)[part::num_parts]:
        path, entry = home / name, expected[name]
        if path.stat().st_size != entry.num_bytes:
            raise WeightError(
                f"checkpoint {home}: {name} must hold {entry.num_bytes} bytes, got {path.stat().st_size}"
            )
        if _hash(path) != entry.xxh3:
            raise WeightError(f"checkpoint {home}: {name} does not match its checksum")


def read_file(home: Path, name: str) -> bytes:
    """One file's content, which is what the manifest says. Raises WeightError otherwise."""
    entry = read(home).files.get(name)
    if entry is None:
        raise WeightError(f"checkpoint {home}: its manifest must list {name}, does not")
    try:
        data = (home / name).read_bytes()
    except OSError as error:
        raise WeightError(f"checkpoint {home}: {name} must be readable: {error}") from error
    if xxhash.xxh3_128(data).hexdigest() != entry.xxh3:
        raise WeightError(f"checkpoint {home}: {name} does not match its checksum")
    return data


def sync_all(home: Path) -> None:
    """Bring a folder and everything in it to disk."""
    for path in home.rglob("*"):
        sync(path)
    sync(home)


def sync(path: Path) -> None:
    """Bring a file, or a folder's list of names, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{name!r} must lie inside the folder")
    return name


def _files(home: Path) -> list[Path]:
    return sorted(path for path in home.rglob("*") if path.is_file() and path != home / MANIFEST)


def _hash(path: Path) -> str:
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _checksum(content: Mapping[str, Any]) -> str:
    return xxhash.xxh3_128(json.dumps(content, sort_keys=True).encode()).hexdigest()
