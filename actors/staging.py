"""One staged copy of each weight version a node, in shared memory, for all its generators and scorers.

    <root>/pgpo_async-<run_id>/.alive            locked, shared, by every user while it lives (`run_folders`)
                              /.stage            locked, alone, by who stages or prunes
                              /v00000012/        bucket files, manifest.json; appears whole or not at all
                              /.staging-<id>/    being written; left over only if its writer was killed

The first receiver fetches and checks, the others wait for it and use its copy. Does not know where buckets
come from (`fetch`), nor how weights are loaded. Used in blocking code only: threads of generators, scorers.
"""

import errno
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from pgpo_async.actors.file_locks import FileLock
from pgpo_async.actors.run_folders import clean_stale, enter, remove_if_dead, run_staging_folder
from pgpo_async.contracts import BucketEntry, WeightError, WeightManifest
from pgpo_async.contracts.rollouts import ContentHash
from pgpo_async.contracts.weights import MANIFEST_NAME

__all__ = ["Fetch", "NodeStaging", "clean_stale", "run_staging_folder"]

Fetch = Callable[[BucketEntry], Iterable[bytes | memoryview]]
"""Brings one bucket's bytes, in pieces; each is used before the next is asked for."""

SHARED_MEMORY = Path("/dev/shm")
_READERS = ".readers"
_WRITING = ".staging-"
_VERSION = re.compile(r"v(\d{8,})")


class NodeStaging:
    """This process's way into its run's folder; others on the node have their own. Close it."""

    def __init__(self, run_id: str, root: Path = SHARED_MEMORY, *, lock_timeout_s: float = 300.0) -> None:
        """Enter the folder, making it if need be.

        `lock_timeout_s` bounds the wait for another process that stages; above what fetching a version takes.
        """
        self.folder = run_staging_folder(run_id, root)
        self._lock_timeout_s = lock_timeout_s
        self._alive: FileLock | None = enter(self.folder)

    def stage(self, manifest: WeightManifest, fetch: Fetch) -> Path:
        """Return the folder of a version, fetching it unless this node has it.

        Raises WeightError for a bucket that does not match the manifest, or without room; WaitTimeout if
        another process stages for longer than `lock_timeout_s`; whatever `fetch` raises. Nothing of a failed
        attempt stays.
        """
        target = self.folder_of(manifest.version)
        if _is_staged(target, manifest):
            return target
        with self._alone(f"weight version {manifest.version} to be staged by another process"):
            self._remove_half_written()
            if not _is_staged(target, manifest):
                self._write(target, manifest, fetch)
        return target

    def folder_of(self, version: int) -> Path:
        """Where a version is, or would be, staged on this node."""
        return self.folder / f"v{version:08d}"

    def versions(self) -> list[int]:
        """Return the versions staged on this node, oldest first."""
        names = (_VERSION.fullmatch(path.name) for path in self.folder.glob("v*"))
        return sorted(int(match[1]) for match in names if match)

    @contextmanager
    def reading(self, folder: Path) -> Iterator[Path]:
        """Keep a staged version from being pruned while it is read. Raises WeightError if it is gone."""
        try:
            lock = FileLock(folder / _READERS)
        except FileNotFoundError:
            raise WeightError(f"{folder} must be staged to be read, but it was pruned") from None
        try:
            if not lock.try_lock(shared=True) or not lock.is_at(folder / _READERS):
                raise WeightError(f"{folder} must be staged to be read, but it is being pruned")
            yield folder
        finally:
            lock.close()

    def prune(self, keep: int) -> list[int]:
        """Remove all versions but the newest `keep` and those being read; return what was removed."""
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}")
        if len(self.versions()) <= keep:
            return []
        with self._alone("another process to stage or prune weights"):
            return [version for version in self.versions()[:-keep] if self._remove_version(version)]

    def close(self) -> None:
        """Say that this process no longer uses the folder; staged files stay for the others."""
        if self._alive is not None:
            self._alive.close()
            self._alive = None

    def remove(self) -> bool:
        """Close, and remove the run's folder if nobody else is alive in it; whether it was removed."""
        self.close()
        return remove_if_dead(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _alone(self, waiting_for: str) -> Iterator[None]:
        assert self._alive is not None, "staging was closed"
        lock = FileLock(self.folder / ".stage")
        try:
            lock.lock(shared=False, timeout_s=self._lock_timeout_s, waiting_for=waiting_for)
            yield
        finally:
            lock.close()

    def _write(self, target: Path, manifest: WeightManifest, fetch: Fetch) -> None:
        self._check_room(manifest, at_least=manifest.num_bytes)
        writing = self.folder / f"{_WRITING}{uuid.uuid4().hex}"
        writing.mkdir()
        try:
            for bucket in manifest.buckets:
                _write_bucket(writing, manifest.version, bucket, fetch(bucket))
            (writing / _READERS).touch()
            (writing / MANIFEST_NAME).write_text(manifest.to_json())
            if target.exists():
                # Another content under the same number: the learner went back to a checkpoint.
                shutil.rmtree(target)
            writing.rename(target)
        except OSError as error:
            self._check_room(manifest, at_least=1, cause=error)
            raise
        finally:
            shutil.rmtree(writing, ignore_errors=True)

    def _check_room(self, manifest: WeightManifest, *, at_least: int, cause: OSError | None = None) -> None:
        free = shutil.disk_usage(self.folder).free
        if free < at_least or (cause is not None and cause.errno == errno.ENOSPC):
            raise WeightError(
                f"staging weight version {manifest.version} needs {manifest.num_bytes:,} bytes in "
                f"{self.folder.parent}, got {free:,} bytes free: give it more room (in a container, "
                f"the size of /dev/shm), or keep fewer versions"
            ) from cause

    def _remove_half_written(self) -> None:
        # Under the lock nobody is writing: whoever made these was killed.
        for folder in self.folder.glob(f"{_WRITING}*"):
            shutil.rmtree(folder, ignore_errors=True)

    def _remove_version(self, version: int) -> bool:
        folder = self.folder_of(version)
        lock = FileLock(folder / _READERS)
        try:
            if not lock.try_lock(shared=False):
                return False
            # Away from its path first: a reader that comes now finds no version rather than half of one.
            grave = folder.rename(self.folder / f"{_WRITING}{uuid.uuid4().hex}")
            shutil.rmtree(grave, ignore_errors=True)
            return True
        finally:
            lock.close()


def _is_staged(target: Path, manifest: WeightManifest) -> bool:
    try:
        return WeightManifest.from_json((target / MANIFEST_NAME).read_text()) == manifest
    except FileNotFoundError:
        return False


def _write_bucket(
    folder: Path, version: int, bucket: BucketEntry, pieces: Iterable[bytes | memoryview]
) -> None:
    if os.path.basename(bucket.name) != bucket.name or bucket.name.startswith("."):
        raise WeightError(f"a bucket's name must be a plain file name, got {bucket.name!r}")
    num_bytes, checksum = 0, ContentHash()
    with (folder / bucket.name).open("wb") as file:
        for piece in pieces:
            checksum.update(piece)
            num_bytes += file.write(piece)
    got = checksum.hexdigest()
    if (num_bytes, got) != (bucket.num_bytes, bucket.checksum):
        raise WeightError(
            f"bucket {bucket.name} of version {version} must be {bucket.num_bytes} bytes with checksum "
            f"{bucket.checksum}, got {num_bytes} bytes with {got}"
        )
