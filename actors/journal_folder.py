"""Which files of a journal's folder are the journal.

    segment-00000001.arrow    full, on disk, never written again
    segment-00000002.arrow    the last one, which records are appended to
    .writer                   locked while a journal is open
    .segment-00000003.new     what a rewrite is writing; left over only if its process was killed

Segments are numbered without gaps, from one whose header begins the journal. That one replaced all older
ones, so these are removed where they are found. Owns the names and this rule; `journal`, the only caller,
holds the lock.
"""

import os
import re
from contextlib import suppress
from pathlib import Path

from pgpo_async.actors.journal_segments import Segment
from pgpo_async.contracts import JournalError

LOCK_NAME = ".writer"
_SEGMENT = re.compile(r"segment-(\d{8,})\.arrow")


def segment_path(folder: Path, number: int) -> Path:
    """Where a segment is."""
    return folder / f"segment-{number:08d}.arrow"


def new_path(folder: Path, number: int) -> Path:
    """Where a segment is written before it gets its name."""
    return folder / f".segment-{number:08d}.new"


def live_segments(folder: Path) -> list[int]:
    """Return the numbers of the journal's segments, oldest first, after removing what does not belong to it.

    The last one may have a torn header or end: a writer was killed. Raises JournalError if segments are
    missing or have another format, OSError if the disk refuses.
    """
    for leftover in folder.glob(".segment-*.new"):
        leftover.unlink()
    numbers = _numbers(folder)
    live: list[int] = []
    for number in reversed(numbers):
        path = segment_path(folder, number)
        if live and number != live[0] - 1:
            raise JournalError(f"journal {folder} must have segment {live[0] - 1}, got {numbers} only")
        live.insert(0, number)
        header = Segment(path, number).header()
        if header is None and number != numbers[-1]:
            raise JournalError(f"{path} must have a whole header at offset 0, got a damaged one")
        if header.begins if header else len(numbers) == 1:
            remove_before(folder, number)
            return live
    if live:
        raise JournalError(f"journal {folder} must have the segment that begins it, got {numbers} only")
    return live


def remove_before(folder: Path, number: int) -> None:
    """Remove segments that were replaced."""
    for older in _numbers(folder):
        if older < number:
            # One that stays is ignored, and tried again at the next opening.
            with suppress(OSError):
                segment_path(folder, older).unlink()


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _numbers(folder: Path) -> list[int]:
    names = (_SEGMENT.fullmatch(path.name) for path in folder.iterdir())
    return sorted(int(match[1]) for match in names if match)
