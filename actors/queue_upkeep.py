"""The replay queue's upkeep: its version, leases that end, the books. Nothing here moves a group forward.

The half of `replay_queue.ReplayQueue` that its generators, scorers and learner do not wait for.
"""

from collections.abc import Sequence

from pgpo_async.actors.queue_past import QueuePast
from pgpo_async.actors.queue_stats import snapshot
from pgpo_async.actors.queue_types import GroupState, Quarantined, QueueStats
from pgpo_async.contracts import Accounting


class QueueUpkeep(QueuePast):
    """Of the groups pending in one queue."""

    _batch_asked: int
    _in_turns: bool

    @property
    def version(self) -> int:
        """The learner's version as last told."""
        return self._groups.version

    @property
    def num_generated(self) -> int:
        """Groups that wait for a scorer."""
        return self._groups.table.depth()[GroupState.GENERATED]

    @property
    def learner_waits(self) -> bool:
        """Whether the learner trains nothing, since there is no whole batch."""
        return self._groups.table.depth()[GroupState.TRAINING] == 0

    def set_version(self, version: int) -> int:
        """Tell the learner's version; returns how many waiting groups became too old for it (stale).

        A lower version than before is that of a learner that went back to a checkpoint.
        """
        if version < 0:
            raise ValueError(f"version must be at least 0, got {version}")
        self._groups.version = version
        return self._groups.drop_stale()

    # Leases

    def abandon(self, group_ids: Sequence[str], holder: str) -> None:
        """Return groups leased for scoring or training. Raises LeaseError and then changes nothing."""
        states = (GroupState.SCORING, GroupState.TRAINING)
        entries = [self._groups.held(group_id, holder, *states) for group_id in dict.fromkeys(group_ids)]
        for entry in entries:
            self._groups.put_back(entry)
        self._groups.drop_stale()

    def heartbeat(self, holder: str) -> int:
        """Refresh all leases of a holder; returns how many it has."""
        return self._groups.leases.refresh(holder)

    def release_holder(self, holder: str) -> int:
        """End all leases of a dead actor: prompts are given back, groups return. Returns how many."""
        return self._lose(self._groups.leases.of(holder))

    def expire(self) -> int:
        """End all leases past their deadline, as `release_holder` does. Returns how many."""
        return self._lose(self._groups.leases.expired())

    def _lose(self, group_ids: list[str]) -> int:
        for group_id in group_ids:
            self._groups.lose(self._groups.table.get(group_id))
        self._groups.drop_stale()
        return len(group_ids)

    # The books

    def take_quarantined(self) -> list[Quarantined]:
        """Return the quarantine records since the last call, for the run folder."""
        return self._groups.ledger.take_records()

    def take_generated(self) -> dict[str, float]:
        """Return means over the groups committed since the last call, before any filter; empty if none.

        Keys: `reward`, the reward's parts, `num_groups`, `response_tokens` (per response).
        """
        return self._groups.ledger.take_generated()

    def accounting(self) -> Accounting:
        """Return where every drawn prompt is; always balanced."""
        return self._groups.ledger.accounting(self._groups.num_pending)

    def stats(self) -> QueueStats:
        """Return a snapshot of depths, bytes, books, lags and what each side waits for."""
        return snapshot(
            self._groups,
            max_groups=self._max_groups,
            max_bytes=self._max_bytes,
            batch_asked=self._batch_asked,
            in_turns=self._in_turns,
        )
