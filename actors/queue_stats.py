"""What blocks the replay queue's sides, in words, and the snapshot of it all. Reads, never changes."""

from pgpo_async.actors.lending import batch_waits_for, turn_of_generation
from pgpo_async.actors.pending_groups import PendingGroups
from pgpo_async.actors.queue_types import GroupState, QueueStats


def reservation_blocked_by(groups: PendingGroups, max_groups: int, max_bytes: int) -> str | None:
    """Return the bound that forbids a reservation now, None if none does.

    Bytes of groups still on their way are not known: they are taken as typical. An empty queue is never
    blocked by bytes, or a single large group would end the run.
    """
    if groups.admission.available == 0:
        return f"an admission slot (all {groups.admission.num_slots} are held)"
    if len(groups.table) >= max_groups:
        return f"room (max_groups {max_groups} is reached)"
    if len(groups.table) and groups.table.expected_bytes() > max_bytes:
        return f"bytes (max_bytes {max_bytes:,} is reached, {groups.table.num_bytes:,} are held)"
    return None


def snapshot(
    groups: PendingGroups, *, max_groups: int, max_bytes: int, batch_asked: int, in_turns: bool
) -> QueueStats:
    """Return the queue's figures; asserts that its books balance."""
    return QueueStats(
        version=groups.version,
        cursor=groups.draw.cursor,
        depth=groups.table.depth(),
        returned_prompts=len(groups.draw.returned),
        slots_available=groups.admission.available,
        num_slots=groups.admission.num_slots,
        lag_bound=groups.admission.lag_bound,
        slots_charged=groups.admission.charged,
        slots_released=groups.admission.released,
        num_bytes=groups.table.num_bytes,
        max_bytes=max_bytes,
        accounting=groups.ledger.accounting(groups.num_pending),
        lag_histogram=groups.ledger.lag_histogram,
        mixed_rollouts_trained=groups.ledger.mixed_rollouts_trained,
        leases_lost=groups.num_leases_lost,
        waiting=_waiting(groups, max_groups, max_bytes, batch_asked, in_turns),
    )


def _waiting(
    groups: PendingGroups, max_groups: int, max_bytes: int, batch_asked: int, in_turns: bool
) -> dict[str, str]:
    depth = groups.table.depth()
    waiting = {}
    blocked = reservation_blocked_by(groups, max_groups, max_bytes)
    if blocked or groups.draw.waits_for_source:
        waiting["reserve"] = blocked or "the prompt source"
    if not depth[GroupState.GENERATED]:
        waiting["scoring"] = f"a generated group ({depth[GroupState.RESERVED]} are being generated)"
    elif in_turns and (turn := turn_of_generation(groups, blocked is not None)):
        waiting["scoring"] = turn
    if batch_asked and (missing := batch_waits_for(groups, batch_asked)):
        waiting["batch"] = missing
    return waiting
