"""How a group enters the replay queue, changes hands and leaves it: slot, lease, entry and books together.

Owns the rules that keep the four in step, so that each exit is written once: a prompt that ends gives its
slot back, loses its lease and its payload, and is counted. `replay_queue` decides which exit to take.
"""

import dataclasses
from typing import Any, NamedTuple

from pgpo_async.actors.group_table import Entry, GroupTable
from pgpo_async.actors.leases import Leases
from pgpo_async.actors.ledger import Ledger
from pgpo_async.actors.prompt_draw import PromptDraw
from pgpo_async.actors.queue_types import AdmissionGate, Drop, GroupState, Quarantined, SlotReason
from pgpo_async.contracts import GroupHeader, LeaseError, Prompt

MAX_CANCELS = 3
"""A prompt whose responses were too old so often is stale: it would be generated for ever."""

_STAGES = {GroupState.SCORING: "score", GroupState.TRAINING: "learn"}
_AFTER_LEASE = {GroupState.SCORING: GroupState.GENERATED, GroupState.TRAINING: GroupState.SCORED}


class Payload(NamedTuple):
    """A group's object in the store."""

    ref: Any
    num_bytes: int
    header: GroupHeader


class PendingGroups:
    """The groups pending and their four records, changed together or not at all."""

    def __init__(
        self,
        *,
        admission: AdmissionGate,
        draw: PromptDraw,
        leases: Leases,
        ledger: Ledger,
        max_lag: int,
        max_losses: int,
        version: int,
    ) -> None:
        self.admission, self.draw, self.leases, self.ledger = admission, draw, leases, ledger
        self.table = GroupTable()
        self.max_lag = max_lag
        self.version = version
        self.num_leases_lost = 0
        self._max_losses = max_losses

    @property
    def num_pending(self) -> int:
        """Prompts drawn and not ended: in the table, or given back."""
        return len(self.table) + len(self.draw.returned)

    def admit(self, holder: str) -> Entry | None:
        """Draw a prompt, charge its slot, lend it; None while the source is reading."""
        drawn = self.draw.next()
        if drawn is None:
            return None
        entry = self.table.add(*drawn)
        self.admission.charge(entry.group_id, "again" if entry.draw.attempt else "drawn")
        self.leases.grant(entry.group_id, holder)
        return entry

    def readmit(self, index: int, prompt: Prompt, state: GroupState, payload: Payload) -> None:
        """Charge a slot for a prompt that was given back and whose group is known already."""
        entry = self.table.add(self.draw.take(index), prompt)
        self.admission.charge(entry.group_id, "again" if entry.draw.attempt else "drawn")
        self.table.store(entry, payload.ref, payload.num_bytes, payload.header)
        self.table.move(entry, state)

    def held(self, group_id: str, holder: str, *states: GroupState) -> Entry:
        """Return the entry that `holder` has on lease in one of the states. Raises LeaseError otherwise."""
        entry = self.table.get(group_id)
        owner = self.leases.holder(group_id)
        if owner != holder or entry.state not in states:
            wanted = " or ".join(states)
            raise LeaseError(
                f"group {group_id} must be held by {holder!r} as {wanted}, "
                f"got {entry.state} held by {owner!r} (a lease that expired is lost)"
            )
        return entry

    def lag(self, header: GroupHeader) -> int:
        """Return the lag of a group if it were trained now, in optimizer steps.

        Never below 0: after the learner has gone back to a checkpoint, groups of later weights remain.
        """
        return max(0, self.version - header.oldest_version)

    def lend(self, entry: Entry, holder: str, state: GroupState) -> None:
        """Lease a group to a scorer or the learner."""
        self.leases.grant(entry.group_id, holder)
        self.table.move(entry, state)

    def put_back(self, entry: Entry) -> None:
        """End a scoring or training lease; the group is there for the next holder."""
        self.leases.end(entry.group_id)
        self.table.move(entry, _AFTER_LEASE[entry.state])

    def give_back(self, entry: Entry) -> None:
        """End a reservation: the slot is free, the prompt stays pending and is drawn first."""
        self._remove(entry, "returned")
        self.draw.give_back(dataclasses.replace(entry.draw, attempt=entry.draw.attempt + 1))

    def cancel(self, entry: Entry) -> None:
        """End a reservation too old to be trained; its prompt is drawn again, a few times."""
        if entry.draw.num_cancels + 1 >= MAX_CANCELS:
            self.drop(entry, "stale")
            return
        self._remove(entry, "cancelled")
        draw = entry.draw
        self.draw.give_back(
            dataclasses.replace(draw, attempt=draw.attempt + 1, num_cancels=draw.num_cancels + 1)
        )

    def lose(self, entry: Entry) -> None:
        """End a lease whose holder died or fell silent.

        A group that costs `max_losses` generators or scorers their lease is quarantined: it may be what
        kills them. The learner's losses do not count: its batch cannot tell which group it was.
        """
        self.num_leases_lost += 1
        if entry.state is GroupState.TRAINING:
            self.put_back(entry)
            return
        entry.draw = dataclasses.replace(entry.draw, num_losses=entry.draw.num_losses + 1)
        if entry.draw.num_losses >= self._max_losses:
            text = f"{entry.draw.num_losses} leases of it were lost, the last while {entry.state}"
            self.quarantine(entry, "lost_too_often", text)
        elif entry.state is GroupState.RESERVED:
            self.give_back(entry)
        else:
            self.put_back(entry)

    def drop(self, entry: Entry, how: Drop) -> None:
        """End a group that will not train."""
        self._remove(entry, how)
        self.ledger.end(entry.draw.index, how)

    def train(self, entry: Entry) -> None:
        """End a group that trained."""
        self._remove(entry, "trained")
        self.ledger.train(entry.draw.index, entry.train_version, entry.header)

    def quarantine(self, entry: Entry, reason: str, error: str) -> None:
        """End a group that could not be used, and keep a record of it."""
        self._remove(entry, "quarantined")
        self.ledger.quarantine(
            Quarantined(
                group_id=entry.group_id,
                index=entry.draw.index,
                prompt_id=entry.prompt.prompt_id,
                reason=reason,
                error=error,
                stage=_stage(entry.state, reason),
                prompt=entry.prompt,
                # A payload had them, and goes now: see `GroupTable.store`.
                images_elsewhere=entry.num_bytes > 0 and entry.draw.prompt is None,
            )
        )

    def drop_stale(self) -> int:
        """End the waiting groups too old for any step to come; those on lease end at their commit."""
        # Those with a lag above max_lag, which is not negative.
        old = self.table.older_than(self.version - self.max_lag)
        for entry in old:
            self.drop(entry, "stale")
        return len(old)

    def _remove(self, entry: Entry, reason: SlotReason) -> None:
        self.leases.end(entry.group_id)
        self.table.remove(entry)
        self.admission.release(entry.group_id, reason)


def _stage(state: GroupState, reason: str) -> str:
    """Where a group was when it broke: a generator has its responses rewarded, too."""
    return _STAGES.get(state, "reward" if reason.startswith("reward_") else "generate")
