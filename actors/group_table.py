"""The pending groups of the replay queue: where each is, its one payload, and the bytes of all.

Owns the entries and with them the refs: an entry removed is a payload freed. Decides nothing; called by
the replay queue only.
"""

import dataclasses
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pgpo_async.actors.prompt_draw import Draw
from pgpo_async.actors.queue_types import GroupState, Lease
from pgpo_async.contracts import GroupHeader, LeaseError, Prompt

_SMOOTHING = 0.1
_WAITING = (GroupState.GENERATED, GroupState.SCORED)


@dataclass(slots=True, kw_only=True)
class Entry:
    """One pending group. `order` is the order of reservation; `train_version` the learner's at the lease."""

    draw: Draw
    prompt: Prompt
    order: int
    state: GroupState = GroupState.RESERVED
    ref: Any = None
    num_bytes: int = 0
    header: GroupHeader | None = None
    train_version: int = 0

    @property
    def group_id(self) -> str:
        """The group's name."""
        return self.draw.group_id

    def lease(self) -> Lease:
        """Return what a holder of this group gets."""
        assert self.header is not None
        return Lease(group_id=self.group_id, ref=self.ref, header=self.header)


class GroupTable:
    """Entries by group id, with the running sum of their payloads' bytes."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._num_added = 0
        self.num_bytes = 0
        self._typical_bytes = 0.0
        # Counted as groups move, not when asked: a reservation asks each time.
        self._counts: Counter[GroupState] = Counter()
        # Sorted by (oldest version, order), which is unique: each wait that is tried again reads the front.
        self._waiting: dict[GroupState, list[tuple[int, int, Entry]]] = {state: [] for state in _WAITING}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    def add(self, draw: Draw, prompt: Prompt) -> Entry:
        """Add a reserved group."""
        assert draw.group_id not in self._entries, f"{draw.group_id} is pending twice"
        entry = Entry(draw=draw, prompt=prompt, order=self._num_added)
        self._num_added += 1
        self._entries[entry.group_id] = entry
        self._counts[entry.state] += 1
        return entry

    def get(self, group_id: str) -> Entry:
        """Return an entry. Raises LeaseError if the group has ended or never was."""
        entry = self._entries.get(group_id)
        if entry is None:
            raise LeaseError(f"group {group_id} must be pending, but it has ended or was given back")
        return entry

    def find(self, group_id: str) -> Entry | None:
        """Return an entry, None if the group is not here."""
        return self._entries.get(group_id)

    def remove(self, entry: Entry) -> None:
        """Forget a group and its payload."""
        del self._entries[entry.group_id]
        self._leave(entry)
        self.num_bytes -= entry.num_bytes
        entry.ref = None

    def move(self, entry: Entry, state: GroupState) -> None:
        """Change where a group is."""
        self._leave(entry)
        self._counts[state] += 1
        entry.state = state
        if state in self._waiting:
            insort(self._waiting[state], (*self._place(entry), entry))

    def _leave(self, entry: Entry) -> None:
        self._counts[entry.state] -= 1
        if entry.state in self._waiting:
            waiting = self._waiting[entry.state]
            del waiting[bisect_left(waiting, self._place(entry))]

    @staticmethod
    def _place(entry: Entry) -> tuple[int, int]:
        assert entry.header is not None, f"{entry.group_id} waits without a payload"
        return entry.header.oldest_version, entry.order

    def store(self, entry: Entry, ref: Any, num_bytes: int, header: GroupHeader) -> None:
        """Give a group its payload; the one it had is dropped.

        The prompt's images are in the payload now: a second copy of them is not kept.
        """
        assert entry.state not in _WAITING, f"{entry.group_id} waits, its place goes by the header it has"
        self.num_bytes += num_bytes - entry.num_bytes
        entry.ref, entry.num_bytes, entry.header = ref, num_bytes, header
        if entry.prompt.images:
            entry.prompt = dataclasses.replace(entry.prompt, images=())
            entry.draw = dataclasses.replace(entry.draw, prompt=None)
        step = num_bytes - self._typical_bytes
        self._typical_bytes += step * (_SMOOTHING if self._typical_bytes else 1.0)

    def expected_bytes(self) -> float:
        """Return the bytes held plus those that one more and the present reservations will bring."""
        return self.num_bytes + (self._counts[GroupState.RESERVED] + 1) * self._typical_bytes

    def waiting(self, state: GroupState, most: int) -> list[Entry]:
        """Return the first groups that are GENERATED or SCORED: oldest weights first, then as reserved.

        The group that must be trained soonest is first; with equal weights this is first in, first out.
        """
        return [entry for *_, entry in self._waiting[state][:most]]

    def num_scored_before(self, version: int) -> int:
        """Return how many scored groups have a token of weights older than a version."""
        return bisect_left(self._waiting[GroupState.SCORED], (version,))

    def older_than(self, version: int) -> list[Entry]:
        """Return the waiting groups with a token of weights older than a version."""
        return [
            entry
            for waiting in self._waiting.values()
            for *_, entry in waiting[: bisect_left(waiting, (version,))]
        ]

    def depth(self) -> dict[str, int]:
        """Return how many groups are in each state."""
        return {state: self._counts[state] for state in GroupState}
