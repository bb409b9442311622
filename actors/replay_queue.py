"""The replay queue: every group between the drawing of its prompt and the step that trained it.

    reserve -> RESERVED -> commit -> GENERATED -> lease_for_scoring -> SCORING -> commit_scores
            -> SCORED -> lease_batch -> TRAINING -> ack

Owns the pending groups, their payloads, the leases on them and the books. Takes prompts from a source and
slots from an admission gate; keeps payloads in an object store that it is given. Synchronous and never
waiting: `queue_actor` adds Ray, waiting and the clock's ticks. One thread only.

What always holds (checked over random operations by `tests/unit/actors/test_replay_queue_states.py`): every
prompt drawn is pending or has ended once, for a reason; each pending group holds a slot, nothing else does;
a group has at most one lease and one payload; no group is lent to the learner at a lag above `max_lag`.
"""

import time
from collections.abc import Callable, Mapping, Sequence

from pgpo_async.actors.group_filter import has_signal
from pgpo_async.actors.lending import next_batch, turn_of_generation
from pgpo_async.actors.prompt_draw import index_of
from pgpo_async.actors.queue_memory import QueueMemory
from pgpo_async.actors.queue_types import (
    AdmissionGate,
    Disposition,
    Drop,
    GroupState,
    Lease,
    ObjectStore,
    PromptSource,
    Reservation,
)
from pgpo_async.actors.queue_upkeep import QueueUpkeep
from pgpo_async.config.pipeline import QueueConfig
from pgpo_async.config.training import FilterConfig
from pgpo_async.contracts import GroupHeader, LeaseError


class ReplayQueue(QueueUpkeep):
    """See the module. `holder` is any name that is one actor's own; `version` counts optimizer steps done.

    `config` bounds groups, bytes and lease time (a bound on groups below one batch never yields a batch);
    without `scoring` a committed group counts as scored; `in_turns`: scoring waits for the whole batch;
    `max_losses` is how many generators or scorers one group may cost. The queue begins with what `memory`
    recollects of one that is gone.
    """

    def __init__(
        self,
        *,
        admission: AdmissionGate,
        source: PromptSource,
        store: ObjectStore,
        max_lag: int,
        config: QueueConfig,
        group_filter: FilterConfig,
        memory: QueueMemory | None = None,
        scoring: bool = True,
        in_turns: bool = False,
        max_losses: int = 5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._admission = admission
        self._source = source
        self._store = store
        self._max_lag = max_lag
        self._config = config
        self._clock = clock
        self._max_losses = max_losses
        self._filter = group_filter
        self._in_turns = in_turns
        self._generated_state = GroupState.GENERATED if scoring else GroupState.SCORED
        self._max_groups = config.max_groups or admission.num_slots
        self._max_bytes = config.max_bytes
        self._batch_asked = 0
        self._memory = memory or QueueMemory()
        self._begin(self._memory.recollected.state, self._memory.recollected.version)

    # Generators

    def reserve(self, holder: str) -> Reservation | None:
        """Take a slot and the next prompt, one given back before a new one.

        None while a bound (slots, groups, bytes) or the source forbids it; `stats().waiting` says which.
        Raises StageFailed where the source has nothing usable.
        """
        groups = self._groups
        self.recall()
        if self._reservation_blocked_by():
            return None
        entry = groups.admit(holder)
        if entry is None:
            return None
        num_ahead = groups.admission.num_slots - groups.admission.available - 1
        return Reservation(
            group_id=entry.group_id,
            prompt=entry.prompt,
            attempt=entry.draw.attempt,
            min_version=groups.admission.oldest_useful_version(groups.version, num_ahead),
        )

    def commit(self, group_id: str, holder: str, payload: bytes, header: GroupHeader) -> Disposition:
        """Bring a generated group. Returns what became of it: queued, filtered (no signal) or stale.

        Raises LeaseError if the holder has no reservation of it (any more): the group is dropped.
        Raises ValueError for a header of another group, or without the filter's key.
        """
        if header.group_id != group_id:
            raise ValueError(f"header.group_id must be {group_id}, got {header.group_id}")
        # Whatever raises does so before anything has changed; after a full object store one may try again.
        signal = has_signal(header, self._filter)
        stale = self._groups.lag(header) > self._groups.max_lag
        try:
            entry = self._groups.held(group_id, holder, GroupState.RESERVED)
        except LeaseError:
            if signal and not stale and self._keep(group_id, payload, header):
                return "queued"
            raise
        ref = self._store.put(payload) if signal and not stale else None
        if ref is not None:
            self._memory.payload(entry.draw.index, payload, header, scored=False)
        self._groups.ledger.generate(header)
        if ref is None:
            how: Drop = "stale" if stale else "filtered"
            self._groups.drop(entry, how)
            return how
        self._groups.leases.end(group_id)
        self._groups.table.store(entry, ref, len(payload), header)
        self._groups.table.move(entry, self._generated_state)
        return "queued"

    def _keep(self, group_id: str, payload: bytes, header: GroupHeader) -> bool:
        """Keep a group of use whose reservation ended with the queue's process, or as it went back."""
        index = index_of(group_id)
        if not self._memory.writes or index in self._memory.kept or not self._groups.draw.has(index):
            return False
        self._memory.keep(index, payload, header, scored=False)
        return True

    def give_back(self, group_id: str, holder: str) -> None:
        """Return a reserved prompt; it stays pending and is drawn first. Raises LeaseError."""
        self._groups.give_back(self._groups.held(group_id, holder, GroupState.RESERVED))

    def over_age(self, holder: str, started: Mapping[str, int]) -> list[str]:
        """Return which of a generator's groups are too old to be trained, whenever they are done.

        `started`: the weights that each began with. The holder cancels them before it loads newer weights.
        """
        mine = set(self._groups.leases.of(holder))
        return [g for g in self._groups.admission.over_age(self.version, started) if g in mine]

    def cancel(self, group_id: str, holder: str) -> None:
        """Give up a group that is over age; its prompt is drawn again, or stale after a few times.

        Raises LeaseError.
        """
        self._groups.cancel(self._groups.held(group_id, holder, GroupState.RESERVED))

    def quarantine(self, group_id: str, holder: str, reason: str, error_text: str) -> None:
        """End a group that its holder (of any kind of lease) cannot use. Raises LeaseError.

        `reason` is a short stable word that is counted, `error_text` goes into the record.
        """
        states = (GroupState.RESERVED, GroupState.SCORING, GroupState.TRAINING)
        self._groups.quarantine(self._groups.held(group_id, holder, *states), reason, error_text)

    # Scorers

    def lease_for_scoring(self, holder: str, max_groups: int) -> list[Lease]:
        """Lend up to `max_groups` generated groups, those that must train soonest first.

        In turns: none before the whole batch is generated.
        """
        if max_groups < 1:
            raise ValueError(f"max_groups must be at least 1, got {max_groups}")
        if self._in_turns and turn_of_generation(self._groups, self._reservation_blocked_by() is not None):
            return []
        entries = self._groups.table.waiting(GroupState.GENERATED, max_groups)
        for entry in entries:
            self._groups.lend(entry, holder, GroupState.SCORING)
        return [entry.lease() for entry in entries]

    def commit_scores(
        self, group_id: str, holder: str, payload: bytes, header: GroupHeader | None = None
    ) -> Disposition:
        """Bring a scored group; its payload takes the place of the generated one.

        Returns "queued", or "stale" if it is too old by now. Raises LeaseError if the holder does not have
        it on lease (any more), ValueError for a header of another group.
        """
        entry = self._groups.held(group_id, holder, GroupState.SCORING)
        header = header or entry.lease().header
        if header.group_id != group_id:
            raise ValueError(f"header.group_id must be {group_id}, got {header.group_id}")
        if self._groups.lag(header) > self._groups.max_lag:
            self._groups.drop(entry, "stale")
            return "stale"
        ref = self._store.put(payload)
        self._memory.payload(entry.draw.index, payload, header, scored=True)
        self._groups.leases.end(group_id)
        self._groups.table.store(entry, ref, len(payload), header)
        self._groups.table.move(entry, GroupState.SCORED)
        return "queued"

    # The learner

    def lease_batch(
        self, holder: str, version: int, num_groups: int, *, ahead: bool = False
    ) -> list[Lease] | None:
        """Lend the learner exactly `num_groups` scored groups to train at `version`; None while it must wait.

        None of them has a lag above max_lag then. The learner is at `version` now, and what is too old for
        it is stale; or it is `ahead` of itself: the step before is still under way.
        """
        if num_groups < 1:
            raise ValueError(f"num_groups must be at least 1, got {num_groups}")
        self._batch_asked = num_groups
        if not ahead:
            self.set_version(version)
        entries = next_batch(self._groups, num_groups, version)
        if entries is None:
            return None
        for entry in entries:
            assert version - entry.lease().header.oldest_version <= self._groups.max_lag, entry
            self._groups.lend(entry, holder, GroupState.TRAINING)
            entry.train_version = version
        return [entry.lease() for entry in entries]

    def ack(self, group_ids: Sequence[str], holder: str, version: int | None = None) -> int:
        """Count groups as trained and free their slots; return how many.

        The step they were leased for is then done: the version is at least the next one. With `version`, that
        of the step, the learner's word counts for groups that the queue no longer knows it had, since its
        process was replaced: said twice, they are counted once.

        Where some are not on lease (any more), the others are counted first, then LeaseError names those.
        """
        if version is not None:
            self._take_over(group_ids, holder, version)
        lost: list[str] = []
        num_trained = 0
        for group_id in group_ids:
            try:
                entry = self._groups.held(group_id, holder, GroupState.TRAINING)
            except LeaseError as error:
                if version is None or not self._memory.was_trained(index_of(group_id)):
                    lost.append(str(error))
                continue
            # The version first: a slot freed by this step must not be given to work for this step.
            if self.version <= entry.train_version:
                self.set_version(entry.train_version + 1)
            self._groups.train(entry)
            num_trained += 1
        if lost:
            raise LeaseError(f"{len(lost)} of {len(group_ids)} groups could not be acknowledged: {lost[0]}")
        return num_trained

    def _take_over(self, group_ids: Sequence[str], holder: str, version: int) -> None:
        """Lend the learner what it had from the queue's former process; whoever has it now has it in vain."""
        self.recall()
        for group_id in group_ids:
            entry = self._groups.table.find(group_id)
            if entry is not None and self._groups.leases.holder(group_id) != holder:
                self._groups.leases.end(group_id)
                self._groups.lend(entry, holder, GroupState.TRAINING)
                entry.train_version = version
