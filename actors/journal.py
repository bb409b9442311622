"""The journal: an append-only log of records in one folder, with one writer.

A record is with the operating system when `append` returns: a killed process loses none. A machine that
loses power loses what was appended since the last fsync. What is half written at the end, by a killed writer
or on a full disk, is cut off; any other damage is refused, naming file and offset.

Owns when to write, to sync, to begin another segment, and how to replace all of them. Files are the work of
`journal_folder` (which there are), `journal_segments` (one of them) and `journal_records` (their bytes). Does
not know what records mean. The replay queue's process opens it and uses it from one thread at a time.
"""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

from pgpo_async.actors.file_locks import FileLock
from pgpo_async.actors.journal_folder import (
    LOCK_NAME,
    live_segments,
    new_path,
    remove_before,
    segment_path,
    sync_folder,
)
from pgpo_async.actors.journal_records import Place, Record
from pgpo_async.actors.journal_segments import Segment, SegmentWriter
from pgpo_async.contracts import JournalError

__all__ = ["Journal", "Place", "Record"]

_MIN_SEGMENT_BYTES = 4096


class Journal:
    """A folder's records, in the order in which they were appended. Close it."""

    def __init__(
        self,
        folder: Path,
        *,
        sync_s: float,
        segment_bytes: int = 256 << 20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open a journal, or make one. `num_cut_bytes` says how much of a torn end was cut off.

        An append is followed by fsync if the last one was `sync_s` seconds ago (0: always; infinity: never).
        Always synced are a segment's end, at `segment_bytes` or a little more, `rewrite` and `close`.

        Raises JournalError if the folder is open elsewhere, if segments are missing or of another format, if
        the last one is damaged before its last record, or if the disk refuses.
        """
        if not sync_s >= 0:
            raise ValueError(f"sync_s must be at least 0, got {sync_s}")
        if segment_bytes < _MIN_SEGMENT_BYTES:
            raise ValueError(f"segment_bytes must be at least {_MIN_SEGMENT_BYTES:,}, got {segment_bytes:,}")
        self.folder = folder
        self.num_cut_bytes = 0
        self._sync_s = sync_s
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._lock: FileLock | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / LOCK_NAME)
            if not self._lock.try_lock(shared=False):
                raise JournalError(f"journal {folder} must have one writer, got a second: it is open already")
            self._full, self._last = self._open()
        except BaseException as error:
            if self._lock is not None:
                self._lock.close()
            if isinstance(error, OSError):
                raise self._refused("be opened", error) from error
            raise
        self._synced = clock()

    @property
    def num_bytes(self) -> int:
        """Size of all segments."""
        return sum(self._sizes().values())

    def append(self, record: Record) -> Place:
        """Write a record after all others and return its place.

        Raises JournalError if the disk refuses; TypeError, ValueError or struct.error if the record has no
        form in JSON and Arrow. Then nothing of it is kept, and the next may be tried.
        """
        assert self._lock is not None, f"journal {self.folder} was closed"
        try:
            if self._last.num_bytes >= self._segment_bytes:
                self._start_segment()
            due = self._clock() - self._synced >= self._sync_s
            place = self._last.append(record, sync=due)
        except OSError as error:
            raise self._refused(f"take a payload of {len(record.payload):,} bytes", error) from error
        if due:
            self._synced = self._clock()
        return place

    def records(self, *, with_payload: bool = False) -> Iterator[tuple[Place, Record]]:
        """Yield the records there are at the first `next`, in order; not to be used on after `rewrite`.

        A payload is read only if asked for, and is b"" else. Raises JournalError where it comes to damage.
        """
        for number, size in self._sizes().items():
            yield from self._segment(number, size).records(with_payload=with_payload)

    def read(self, place: Place) -> Record:
        """Return the record at a place, with its payload. Raises JournalError if no whole one is there."""
        size = self._sizes().get(place.segment, 0)
        if not 0 <= place.offset < size:
            raise JournalError(f"{self.folder} must have a record at {place}, got {size:,} bytes there")
        return self._segment(place.segment, size).record(place.offset, with_payload=True)[0]

    def rewrite(self, head: Sequence[Record], kept: Sequence[Place]) -> dict[Place, Place]:
        """Replace all records by `head` and, after it, those at the places `kept`, in that order.

        Returns the new place of each one kept; no older place is valid any more. A process killed in here
        leaves the old records or the new ones. Raises JournalError, and leaves the old ones, if the disk
        refuses or a record to keep is damaged; ValueError if one is to be kept twice.
        """
        assert self._lock is not None, f"journal {self.folder} was closed"
        if len(set(kept)) < len(kept):
            raise ValueError(f"kept must name a record once, got {len(kept)} places of {len(set(kept))}")
        number = self._last.number + 1
        new, path = new_path(self.folder, number), segment_path(self.folder, number)
        try:
            last, moved = self._copy(new, number, head, kept)
            try:
                os.replace(new, path)
                sync_folder(self.folder)
            except BaseException:
                last.close()
                raise
        except BaseException as error:
            new.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise self._refused("be rewritten", error) from error
            raise
        self._last.close()
        self._full, self._last, self._synced = {}, last, self._clock()
        remove_before(self.folder, number)
        return moved

    def sync(self) -> None:
        """Wait until all is on disk. Raises JournalError if the disk refuses."""
        assert self._lock is not None, f"journal {self.folder} was closed"
        try:
            self._last.sync()
        except OSError as error:
            raise self._refused("be put on disk", error) from error
        self._synced = self._clock()

    def close(self) -> None:
        """Put all on disk and let others open the folder; may be called again."""
        if self._lock is None:
            return
        try:
            self.sync()
        finally:
            self._last.close()
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> tuple[dict[int, int], SegmentWriter]:
        *older, number = live_segments(self.folder) or [1]
        full = {n: segment_path(self.folder, n).stat().st_size for n in older}
        path = segment_path(self.folder, number)
        num_whole = 0
        if path.exists():
            segment = Segment(path, number)
            num_whole = segment.num_whole_bytes()
            self.num_cut_bytes = segment.num_bytes - num_whole
        last = SegmentWriter(path, number, begins=not older, num_bytes=num_whole)
        try:
            last.sync()
            sync_folder(self.folder)
        except BaseException:
            last.close()
            raise
        return full, last

    def _start_segment(self) -> None:
        # On disk before the next one: only the last may have a torn end.
        self._last.sync()
        path = segment_path(self.folder, self._last.number + 1)
        try:
            last = SegmentWriter(path, self._last.number + 1, begins=False)
            sync_folder(self.folder)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        self._last.close()
        self._full[self._last.number] = self._last.num_bytes
        self._last = last

    def _copy(
        self, path: Path, number: int, head: Sequence[Record], kept: Sequence[Place]
    ) -> tuple[SegmentWriter, dict[Place, Place]]:
        copy = SegmentWriter(path, number, begins=True)
        try:
            for record in head:
                copy.append(record)
            moved = {place: copy.append(self.read(place)) for place in kept}
            copy.sync()
        except BaseException:
            copy.close()
            raise
        return copy, moved

    def _segment(self, number: int, size: int) -> Segment:
        try:
            return Segment(segment_path(self.folder, number), number, size)
        except OSError as error:
            raise self._refused("be read", error) from error

    def _sizes(self) -> dict[int, int]:
        return {**self._full, self._last.number: self._last.num_bytes}

    def _refused(self, what: str, error: OSError) -> JournalError:
        return JournalError(f"journal {self.folder} must {what}, got {error}")
