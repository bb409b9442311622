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


def next_batch(groups: PendingGroups, num_groups: int, version: int) -> list[Entry] | None:
    """Exactly `num_groups` scored groups that the learner may train at `version`; None while it must wait."""
    batch = _first_scored(groups, num_groups, version)
    if len(batch) < num_groups or _overtaken_by(groups, batch):
        return None
    return batch


def batch_waits_for(groups: PendingGroups, num_groups: int) -> str | None:
    """Say what keeps the learner from a batch, None if nothing does."""
    batch = _first_scored(groups, num_groups, groups.version)
    if len(batch) < num_groups:
        return f"{num_groups} scored groups ({len(batch)} are there)"
    late = _overtaken_by(groups, batch)
    if late is None:
        return None
    return f"group {late}, which train.order_window ({groups.admission.order_window}) has overtaken"


def _first_scored(groups: PendingGroups, num_groups: int, version: int) -> list[Entry]:
    # Oldest weights first: what would be too old at `version` is at the front.
    num_old = groups.table.num_scored_before(version - groups.max_lag)
    if groups.admission.order_window is None:
        return groups.table.waiting(GroupState.SCORED, num_old + num_groups)[num_old:]
    ready = groups.table.waiting(GroupState.SCORED, len(groups.table))[num_old:]
    return sorted(ready, key=lambda entry: entry.order)[:num_groups]


def _overtaken_by(groups: PendingGroups, batch: list[Entry]) -> str | None:
    """A group that would be overtaken too often by this batch and the one that is training."""
    if groups.admission.order_window is None:
        return None
    training = [entry.group_id for entry in groups.table if entry.state is GroupState.TRAINING]
    return groups.admission.must_wait_for([*training, *(entry.group_id for entry in batch)])
