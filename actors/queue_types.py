"""What the replay queue takes and gives: its collaborators' protocols, leases, records, statistics.

Owns types only. `replay_queue` makes them, its callers (generators, scorers, the learner's loop, the run
folder) read them. The protocols are here because `actors` may not import what implements them.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol

from pgpo_async.contracts import Accounting, GroupHeader, Prompt

SlotReason = Literal["trained", "filtered", "stale", "quarantined", "returned", "cancelled"]
"""Why an admission slot comes back: how the prompt ended (DESIGN 5.1), or that it will be drawn again."""

Drop = Literal["filtered", "stale"]
"""Ends that need no record."""

Disposition = Literal["queued", "filtered", "stale"]
"""What became of a committed group."""


class GroupState(StrEnum):
    """Where a pending group is."""

    RESERVED = "reserved"
    GENERATED = "generated"
    SCORING = "scoring"
    SCORED = "scored"
    TRAINING = "training"


class ObjectStore(Protocol):
    """Keeps payloads. An object lives as long as someone keeps its ref."""

    def put(self, data: bytes, /) -> Any:
        """Store some bytes and return the ref that stands for them."""


class PromptSource(Protocol):
    """Deterministic random access to an endless drawing order."""

    def prompt(self, index: int, /) -> Prompt | None:
        """Return the prompt at a position; None if it is still being read (ask again).

        Raises PromptError for a row that can never be used.
        """


class AdmissionGate(Protocol):
    """Slots, as `orchestration.admission.Admission` has them."""

    @property
    def num_slots(self) -> int:
        """All slots."""

    @property
    def available(self) -> int:
        """Free slots."""

    @property
    def order_window(self) -> int | None:
        """How many younger groups may be trained before a group; None for any number."""

    @property
    def lag_bound(self) -> int | None:
        """Largest lag of any group by slots and order alone; None where they bound the mean only."""

    @property
    def charged(self) -> Mapping[str, int]:
        """Slots taken so far, by reason."""

    @property
    def released(self) -> Mapping[str, int]:
        """Slots given back so far, by reason."""

    def restart(self, charged: Mapping[str, int], released: Mapping[str, int], /) -> None:
        """Begin with all slots free and these counts, which are equal in sum."""

    def charge(self, group_id: str, reason: Literal["drawn", "again"], /) -> None:
        """Take a slot, for a new prompt or one that was given back."""

    def release(self, group_id: str, reason: SlotReason, /) -> None:
        """Give a slot back."""

    def must_wait_for(self, batch: Collection[str], /) -> str | None:
        """Return a group that this batch may not overtake."""

    def over_age(self, version: int, started: Mapping[str, int], /) -> list[str]:
        """Return the groups in flight, given with their oldest weights, that no step can train any more."""

    def oldest_useful_version(self, version: int, num_ahead: int, /) -> int:
        """Return the oldest weights worth generating with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reservation:
    """A prompt to generate a group for. `attempt` counts earlier reservations of the same prompt.

    With weights older than `min_version` the group will be too old when its turn comes: a generator that
    has only such weights waits for newer ones first.
    """

    group_id: str
    prompt: Prompt
    attempt: int
    min_version: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """A group lent out. `ref` is the queue's object, or a small payload itself (`contracts.arrow` bytes)."""

    group_id: str
    ref: Any
    header: GroupHeader


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantined:
    """A prompt that could not be used, for the run folder.

    `stage` says where: read, generate, reward, score, learn. `prompt` is what is at hand of the input, None
    where that is nothing; with `images_elsewhere` it has images that are not in it: its index finds them.
    """

    group_id: str
    index: int
    prompt_id: str
    reason: str
    error: str
    stage: str
    prompt: Prompt | None
    images_elsewhere: bool = False
    time_s: float = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueStats:
    """A snapshot. `waiting` says for each blocked side ("reserve", "scoring", "batch") what it waits for."""

    version: int
    cursor: int
    depth: Mapping[str, int]
    returned_prompts: int
    slots_available: int
    num_slots: int
    lag_bound: int | None
    slots_charged: Mapping[str, int]
    slots_released: Mapping[str, int]
    num_bytes: int
    max_bytes: int
    accounting: Accounting
    lag_histogram: Mapping[int, int]
    mixed_rollouts_trained: int
    leases_lost: int
    waiting: Mapping[str, str]

    def summary(self) -> str:
        """Return one line for logs and timeouts."""
        depth = ", ".join(f"{num} {state}" for state, num in self.depth.items())
        blocked = "; ".join(f"{side} waits for {what}" for side, what in self.waiting.items())
        books = f"{self.accounting.filtered} filtered, {self.accounting.quarantined} quarantined so far"
        state = f"version {self.version}: {depth}; {self.num_bytes:,} bytes"
        return "; ".join(filter(None, (state, blocked, books)))


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueLook:
    """What the driver asks for in one call: a snapshot, and what is new since the last look."""

    stats: QueueStats
    quarantined: tuple[Quarantined, ...]
    generated: Mapping[str, float]
    """Means over the groups generated since the last finished step; empty if none, or if not asked."""
