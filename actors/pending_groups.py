"""How a group enters the replay queue, changes hands and leaves it: slot, lease, entry and books together.

Owns the rules that keep the four in step, so that each exit is written once: a prompt that ends gives its
slot back, loses its lease and its payload, and is counted. `replay_queue` decides which exit to take.
"""

import dataclasses

from pgpo_async.actors.group_table import Entry, GroupTable
from pgpo_async.actors.leases import Leases
from pgpo_async.actors.ledger import Ledger
from pgpo_async.actors.prompt_draw import PromptDraw
from pgpo_async.actors.queue_types import AdmissionGate, Drop, GroupState, Quarantined, SlotReason
from pgpo_async.contracts import GroupHeader, LeaseError

MAX_CANCELS = 3
"""A prompt whose responses were too old so often is stale: it would be generated for ever."""

_AFTER_LEASE = {GroupState.SCORING: GroupState.GENERATED, GroupState.TRAINING: GroupState.SCORED}


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
        self.ledger.end(how)

    def train(self, entry: Entry) -> None:
        """End a group that trained, and count the lag it trained at."""
        assert entry.header is not None
        self._remove(entry, "trained")
        self.ledger.train(entry.header, max(0, entry.train_version - entry.header.oldest_version))

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
                prompt=dataclasses.replace(entry.prompt, images=()),
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
