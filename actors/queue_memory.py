"""What the replay queue writes down and finds again: its journal, and what it need not have done twice.

Owns the journal's records and the prompts known from it that are not pending in the table yet (`kept`).
Without a journal nothing is written and nothing is known. Called by `replay_queue`; what the records come to
is `recollection`'s.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from pgpo_async.actors.journal import Journal, Place, Record
from pgpo_async.actors.queue_state import QueueState
from pgpo_async.actors.recollection import (
    ENDS,
    PAYLOADS,
    Kept,
    Recollection,
    Shift,
    header_meta,
    recollect,
    told_since,
)
from pgpo_async.contracts import (
    GroupHeader,
    JournalError,
    Prompt,
    RolloutGroup,
    ScoredGroup,
    VersionSpan,
    decode,
    encode,
)

MAX_TRAINED = 8192
"""Trained prompts remembered, for an acknowledgement that comes twice."""


class QueueMemory:
    """Of one queue. `recollected` is what the journal knew when it was opened."""

    def __init__(self, journal: Journal | None = None, *, max_bytes: int | None = None) -> None:
        self._journal = journal
        self._max_bytes = self._limit_bytes = max_bytes
        self.recollected = Recollection() if journal is None else recollect(journal.records())
        self._know(self.recollected)

    @property
    def writes(self) -> bool:
        """Whether there is a journal."""
        return self._journal is not None

    def _know(self, found: Recollection) -> None:
        self.kept = dict(found.kept)
        self._trained = dict.fromkeys(found.trained[-MAX_TRAINED:])

    # What is written

    def payload(self, index: int, data: bytes, header: GroupHeader, *, scored: bool) -> Place | None:
        """Write a group; before the queue takes it. Raises JournalError."""
        kind = PAYLOADS[scored]
        return self._write(Record(kind=kind, index=index, meta={"header": header_meta(header)}, payload=data))

    def trained(self, index: int, *, version: int, lag: int | None, num_mixed: int) -> None:
        """Write that a prompt was trained at a version."""
        self._write(
            Record(kind="trained", index=index, meta={"version": version, "lag": lag, "num_mixed": num_mixed})
        )
        self._trained[index] = None
        while len(self._trained) > MAX_TRAINED:
            del self._trained[next(iter(self._trained))]

    def was_trained(self, index: int) -> bool:
        """Whether a prompt was trained, as far as is remembered."""
        return index in self._trained

    def ended(self, index: int, how: Literal["filtered", "stale"]) -> None:
        """Write that a prompt has ended."""
        self._write(Record(kind=how, index=index, meta={}))

    def quarantined(self, index: int, reason: str) -> None:
        """Write that a prompt could not be used."""
        self._write(Record(kind="quarantined", index=index, meta={"reason": reason}))

    def _write(self, record: Record) -> Place | None:
        if self._journal is None:
            return None
        if self._limit_bytes is not None and self._journal.num_bytes > self._limit_bytes:
            self._shrink()
        return self._journal.append(record)

    def _shrink(self) -> None:
        """Drop payloads that only going back to a checkpoint would need, and those that others replaced."""
        assert self._journal is not None
        assert self._max_bytes is not None
        last: dict[int, Place] = {}
        lines = list(self._journal.records())
        for place, record in lines:
            if record.kind in PAYLOADS:
                last[record.index] = place
            elif record.kind in ENDS:
                last.pop(record.index, None)
        kept_places = {kept.place for kept in self.kept.values()}
        places = [
            place
            for place, record in lines
            if record.kind not in PAYLOADS or last.get(record.index) == place or place in kept_places
        ]
        self._moved(self._journal.rewrite([], places))
        self._limit_bytes = max(self._max_bytes, 2 * self._journal.num_bytes)

    # Checkpoints

    def mark(self, name: str, state: QueueState, version: int) -> None:
        """Write a state that one may go back to."""
        meta = {"name": name, "state": state.as_json(), "version": version}
        self._write(Record(kind="mark", index=-1, meta=meta))

    def rewind(self, name: str, *, at: int, to: int) -> Recollection:
        """Go back to a mark: what was `at` version `at` is told as `to` from now on. Raises JournalError."""
        if self._journal is None:
            raise JournalError("there must be a journal to go back in")
        records = list(self._journal.records())
        found = recollect(records, name)
        # What was `at` when it was marked may be told otherwise since the last time.
        at = told_since(records, name, at)
        shift = Shift(at, to)
        kept = {index: replace(one, shifts=(*one.shifts, shift)) for index, one in found.kept.items()}
        self._write(Record(kind="rewind", index=-1, meta={"name": name, "at": at, "to": to}))
        found = replace(found, kept=kept, trained=(), version=to)
        self._know(found)
        return found

    def start_again(self, name: str, state: QueueState, *, at: int, to: int) -> None:
        """Go back to a state that the journal has no mark of: what it knows is dropped."""
        if self._journal is not None:
            self._journal.rewrite([], [])
        self._know(Recollection())
        self.mark(name, state, at)
        self._write(Record(kind="rewind", index=-1, meta={"name": name, "at": at, "to": to}))

    def forget_before(self, name: str) -> None:
        """Drop what going back to a mark, or to a later one, does not need."""
        if self._journal is None:
            return
        lines = list(self._journal.records())
        marks = [i for i, (_, r) in enumerate(lines) if r.kind == "mark" and r.meta["name"] == name]
        if not marks:
            return
        first = marks[0]
        state = QueueState.from_json(lines[first][1].meta["state"])
        pending = set(state.pending)
        places = [
            place
            for number, (place, record) in enumerate(lines)
            if number >= first
            or record.kind == "rewind"
            or (record.kind in PAYLOADS and (record.index in pending or record.index >= state.cursor))
        ]
        self._moved(self._journal.rewrite([], places))

    def _moved(self, places: dict[Place, Place]) -> None:
        self.kept = {
            index: kept if kept.place is None else replace(kept, place=places[kept.place])
            for index, kept in self.kept.items()
        }

    # What is found

    def take(self, index: int) -> Kept | None:
        """Return what is known of a prompt, once."""
        return self.kept.pop(index, None)

    def known(self) -> Iterator[int]:
        """Iterate the known prompts' indices, rising."""
        return iter(sorted(self.kept))

    def read(self, kept: Kept) -> tuple[bytes, GroupHeader, Prompt]:
        """Return a kept payload, its header and prompt, with versions as they are told now.

        Raises JournalError, and ValueError for a payload that is no group.
        """
        assert self._journal is not None, "what is kept is in the journal"
        assert kept.place is not None, "what has ended has no payload"
        payload = self._journal.read(kept.place).payload
        item = _shifted(decode(payload), kept.shifts)
        group = item.group if isinstance(item, ScoredGroup) else item
        return encode(item) if kept.shifts else payload, group.header(), group.prompt

    def keep(self, index: int, data: bytes, header: GroupHeader, *, scored: bool) -> None:
        """Keep a payload that comes while nobody may bring it, for when its prompt's turn comes."""
        place = self.payload(index, data, header, scored=scored)
        assert place is not None, "without a journal there is nowhere to keep it"
        self.kept[index] = Kept(place=place, header=header, scored=scored)

    def sync(self) -> None:
        """Bring the journal to disk."""
        if self._journal is not None:
            self._journal.sync()

    def close(self) -> None:
        """Bring the journal to disk and let go of it."""
        if self._journal is not None:
            self._journal.close()


def _shifted(item: RolloutGroup | ScoredGroup, shifts: tuple[Shift, ...]) -> RolloutGroup | ScoredGroup:
    if isinstance(item, ScoredGroup):
        group = _shifted(item.group, shifts)
        assert isinstance(group, RolloutGroup)
        version = item.scorer_version
        return replace(item, group=group, scorer_version=_told(version, shifts) if version >= 0 else version)
    rollouts = tuple(
        replace(
            rollout,
            version_spans=tuple(
                VersionSpan(version=_told(span.version, shifts), start=span.start, end=span.end)
                for span in rollout.version_spans
            ),
        )
        for rollout in item.rollouts
    )
    return replace(item, rollouts=rollouts)


def _told(version: int, shifts: tuple[Shift, ...]) -> int:
    for shift in shifts:
        version = shift(version)
    return version
