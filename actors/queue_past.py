"""The replay queue's past: where it begins, the marks it can go back to, what need not be done again.

The third of `replay_queue.ReplayQueue`: a queue whose process died, and one whose learner went back to a
checkpoint, begin with the books of then, nobody holding anything, and with what the journal still knows of
prompts that are pending in those books.
"""

from collections.abc import Callable

from pgpo_async.actors.leases import Leases
from pgpo_async.actors.ledger import Ledger
from pgpo_async.actors.pending_groups import Payload, PendingGroups
from pgpo_async.actors.prompt_draw import PromptDraw
from pgpo_async.actors.queue_memory import QueueMemory
from pgpo_async.actors.queue_state import QueueState
from pgpo_async.actors.queue_stats import reservation_blocked_by
from pgpo_async.actors.queue_types import AdmissionGate, GroupState, ObjectStore, PromptSource
from pgpo_async.actors.recollection import Kept
from pgpo_async.config.pipeline import QueueConfig
from pgpo_async.contracts import JournalError


class QueuePast:
    """Of one queue."""

    _admission: AdmissionGate
    _source: PromptSource
    _store: ObjectStore
    _config: QueueConfig
    _clock: Callable[[], float]
    _memory: QueueMemory
    _groups: PendingGroups
    _generated_state: GroupState
    _max_lag: int
    _max_losses: int
    _max_groups: int
    _max_bytes: int

    def _begin(self, state: QueueState, version: int) -> None:
        self._admission.restart(state.slots_charged, state.slots_released)
        ledger = Ledger(state, self._memory)
        self._groups = PendingGroups(
            admission=self._admission,
            draw=PromptDraw(self._source, ledger, state),
            leases=Leases(self._config.lease_timeout_s, self._clock),
            ledger=ledger,
            max_lag=self._max_lag,
            max_losses=self._max_losses,
            version=version,
        )
        self.recall()

    def _reservation_blocked_by(self) -> str | None:
        return reservation_blocked_by(self._groups, self._max_groups, self._max_bytes)

    def state(self) -> QueueState:
        """Return what a checkpoint must keep to go on from here; everything pending is drawn again."""
        groups = self._groups
        pending = sorted([*groups.draw.returned, *(entry.draw.index for entry in groups.table)])
        charged, released = dict(groups.admission.charged), dict(groups.admission.released)
        released["returned"] = released.get("returned", 0) + len(groups.table)
        return QueueState(
            cursor=groups.draw.cursor,
            pending=tuple(pending),
            accounting=groups.ledger.accounting(groups.num_pending),
            lags=groups.ledger.lag_histogram,
            mixed_rollouts=groups.ledger.mixed_rollouts_trained,
            slots_charged=charged,
            slots_released=released,
        )

    def mark(self, name: str) -> QueueState:
        """Write down the state under a checkpoint's name, and return it."""
        state = self.state()
        self._memory.mark(name, state, self._groups.version)
        self._memory.sync()
        return state

    def forget_before(self, name: str) -> None:
        """Never go back beyond a mark from now on."""
        self._memory.forget_before(name)

    def rewind(self, name: str, state: QueueState, *, at: int, to: int) -> None:
        """Go back to a checkpoint: to its mark, or where the journal has none, to its `state` alone.

        All leases are void. The weights that were version `at` then are version `to` from now on.
        """
        try:
            state = self._memory.rewind(name, at=at, to=to).state
        except JournalError:
            self._memory.start_again(name, state, at=at, to=to)
        self._begin(state, to)

    def recall(self) -> int:
        """Put groups that the journal knows where they belong, as far as bounds allow; return how many ended
        or are pending again.
        """
        num_recalled = 0
        for index in self._memory.known():
            if self._reservation_blocked_by():
                break
            kept = self._memory.take(index)
            if kept is not None and self._groups.draw.reach(index):
                num_recalled += self._recall(index, kept)
        return num_recalled

    def _recall(self, index: int, kept: Kept) -> bool:
        groups = self._groups
        if kept.ended:
            groups.draw.take(index)
            if kept.ended == "filtered":
                groups.ledger.end(index, "filtered")
            else:
                groups.ledger.quarantine_again(index, kept.reason)
            return True
        try:
            data, header, prompt = self._memory.read(kept)
        except (JournalError, ValueError):
            return False  # generated again
        if groups.lag(header) > self._max_lag:
            return False
        state = GroupState.SCORED if kept.scored else self._generated_state
        groups.readmit(index, prompt, state, Payload(self._store.put(data), len(data), header))
        return True
