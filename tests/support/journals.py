"""Journals of tests: records that can be told apart, and what is in a folder."""

from pathlib import Path

from pgpo_async.actors.journal import Journal, Record

NEVER = float("inf")
SMALL = 4096
"""The smallest size of a segment."""


def make(i: int, size: int = 40) -> Record:
    """A record that differs from others in all its fields. Its payload has no zeros."""
    return Record(kind="generated", index=i, meta={"group_id": f"g{i}"}, payload=bytes([i % 255 + 1]) * size)


def contents(journal: Journal) -> list[Record]:
    """All records of an open journal, with their payloads."""
    return [record for _, record in journal.records(with_payload=True)]


def read_all(folder: Path) -> list[Record]:
    """All records of a journal that nobody has open."""
    with Journal(folder, sync_s=NEVER) as journal:
        return contents(journal)
