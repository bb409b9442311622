"""Which groups a scorer or the learner is lent next. Reads, never changes; called by the replay queue.

Without an order window the ready groups with the oldest weights come first, whoever is still missing. With
one they come in the order of admission, and a group that has been overtaken often enough is waited for. In
turns (`mode: sync`) scoring begins when the whole batch is generated.
"""

from pgpo_async.actors.group_table import Entry
from pgpo_async.actors.pending_groups import PendingGroups
from pgpo_async.actors.queue_types import GroupState


def turn_of_generation(groups: PendingGroups, full: bool) -> str | None:
    """Say what generation has yet to do before its turn ends, None if nothing.

    `full`: no prompt can be reserved now. Groups that a filter ended have made room, which is filled first.
    """
    num_reserved = groups.table.depth()[GroupState.RESERVED]
    if full and num_reserved == 0:
        return None
    return f"the turn of generation to end ({num_reserved} in flight, {groups.admission.available} to come)"


def next_batch(groups: PendingGroups, num_groups: int) -> list[Entry] | None:
    """Exactly `num_groups` scored groups for the learner; None while there are none that it may take."""
    batch = _first_scored(groups, num_groups)
    if len(batch) < num_groups or groups.admission.must_wait_for([entry.group_id for entry in batch]):
        return None
    return batch


def batch_waits_for(groups: PendingGroups, num_groups: int) -> str | None:
    """Say what keeps the learner from a batch, None if nothing does."""
    batch = _first_scored(groups, num_groups)
    if len(batch) < num_groups:
        return f"{num_groups} scored groups ({len(batch)} are there)"
    late = groups.admission.must_wait_for([entry.group_id for entry in batch])
    if late is None:
        return None
    return f"group {late}, which train.order_window ({groups.admission.order_window}) has overtaken"


def _first_scored(groups: PendingGroups, num_groups: int) -> list[Entry]:
    if groups.admission.order_window is None:
        return groups.table.waiting(GroupState.SCORED, num_groups)
    ready = groups.table.waiting(GroupState.SCORED, len(groups.table))
    return sorted(ready, key=lambda entry: entry.order)[:num_groups]
