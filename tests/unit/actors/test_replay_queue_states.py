"""Random operations on the replay queue: what must hold after every one of them."""

import contextlib
import gc
import weakref
from collections import Counter

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pgpo_async.actors.replay_queue import ReplayQueue
from pgpo_async.config.pipeline import QueueConfig
from pgpo_async.config.training import FilterConfig
from pgpo_async.contracts import GroupHeader, LeaseError, Prompt, PromptError
from pgpo_async.orchestration.admission import Admission

LEASE_S = 100.0
MAX_LOSSES = 3
HOLDERS = ("a", "b", "c")
holders = st.sampled_from(HOLDERS)
picks = st.integers(0, 10**6)


class Payload:
    """A ref that can be watched: an object nobody refers to is gone, as in Ray."""

    def __init__(self, data: bytes) -> None:
        self.data = data


class Store:
    def __init__(self) -> None:
        self.alive: weakref.WeakSet[Payload] = weakref.WeakSet()

    def put(self, data: bytes) -> Payload:
        payload = Payload(data)
        self.alive.add(payload)
        return payload


class Source:
    """Every seventh row is unusable; some rows are late: they are there when asked twice."""

    def __init__(self) -> None:
        self.asked: Counter[int] = Counter()

    def prompt(self, index: int) -> Prompt | None:
        self.asked[index] += 1
        if index % 7 == 6:
            raise PromptError("unusable", reason="corrupt_image", prompt_id=f"p{index}")
        if index % 5 == 3 and self.asked[index] == 1:
            return None
        return Prompt(prompt_id=f"p{index}", question="?", answer="!", images=(b"png",), index=index)


def header(group_id: str, oldest: int, newest: int, reward: float) -> GroupHeader:
    return GroupHeader(
        group_id=group_id,
        num_rollouts=2,
        num_prompt_tokens=3,
        num_response_tokens=8,
        oldest_version=oldest,
        newest_version=newest,
        num_mixed_rollouts=int(newest > oldest),
        mean_reward=reward,
        mean_parts={"accuracy": reward},
    )


class QueueMachine(RuleBasedStateMachine):
    """Drives the queue as several generators, scorers and a learner, some of which die."""

    @initialize(
        max_lag=st.integers(0, 2),
        groups=st.integers(1, 3),
        window=st.none() | st.integers(0, 6),
        in_turns=st.booleans(),
        max_bytes=st.sampled_from([150, 10**6]),
    )
    def start(self, max_lag, groups, window, in_turns, max_bytes):
        self.in_turns = in_turns
        window = None if window is None else min(window, max_lag * groups)
        self.max_lag, self.groups_per_step = max_lag, groups
        self.now = 0.0
        self.store = Store()
        self.admission = Admission(max_lag, groups, window)
        self.queue = ReplayQueue(
            admission=self.admission,
            source=Source(),
            store=self.store,
            max_lag=max_lag,
            config=QueueConfig(max_bytes=max_bytes, lease_timeout_s=LEASE_S),
            group_filter=FilterConfig(),
            max_losses=MAX_LOSSES,
            in_turns=in_turns,
            clock=lambda: self.now,
        )
        # The model: what each actor believes it has, and what it did with it.
        self.reserved: dict[tuple[str, str], int] = {}
        self.scoring: set[tuple[str, str]] = set()
        self.training: dict[tuple[str, str], int] = {}

    def _pick(self, held, pick):
        return sorted(held)[pick % len(held)]

    @rule(holder=holders)
    def reserve(self, holder):
        reservation = self.queue.reserve(holder)
        if reservation is None:
            assert "reserve" in self.queue.stats().waiting
            return
        assert reservation.min_version <= self.queue.version
        assert reservation.prompt.images, "a prompt given back keeps its images"
        self.reserved[holder, reservation.group_id] = self.queue.version

    @precondition(lambda self: self.reserved)
    @rule(
        pick=picks,
        age=st.integers(0, 2),
        span=st.integers(0, 1),
        reward=st.sampled_from([0.0, 0.4, 0.6, 1.0]),
    )
    def commit(self, pick, age, span, reward):
        holder, group_id = self._pick(self.reserved, pick)
        oldest = max(0, self.reserved.pop((holder, group_id)) - age)
        head = header(group_id, oldest, oldest + span, reward)
        try:
            how = self.queue.commit(group_id, holder, b"g" * 40, head)
        except LeaseError:
            return
        if self.queue.version - oldest > self.max_lag:
            assert how == "stale"
        else:
            assert how == ("queued" if 0 < reward < 1 else "filtered")

    @rule(holder=holders, times=st.integers(1, 6), last=st.integers(0, 3))
    def pipeline_works(self, holder, times, last):
        """Several stages at once: single steps alone seldom come as far as training."""
        for _ in range(times):
            reservation = self.queue.reserve(holder)
            if reservation is not None:
                group_id, version = reservation.group_id, self.queue.version
                head = header(group_id, version, version, 0.5)
                assert self.queue.commit(group_id, holder, b"g" * 40, head) == "queued"
        if last > 0:
            for lease in self.queue.lease_for_scoring(holder, 9):
                assert self.queue.commit_scores(lease.group_id, holder, b"s" * 60) == "queued"
        if last > 1:
            self.lease_batch(holder)
        batch = [group_id for who, group_id in self.training if who == holder]
        if last > 2 and batch:
            self.ack(holder)

    @precondition(lambda self: self.reserved)
    @rule(pick=picks)
    def give_back(self, pick):
        holder, group_id = self._pick(self.reserved, pick)
        del self.reserved[holder, group_id]
        self._try(self.queue.give_back, group_id, holder)

    @precondition(lambda self: self.reserved)
    @rule(holder=holders)
    def over_age_work_is_cancelled(self, holder):
        mine = {group: started for (who, group), started in self.reserved.items() if who == holder}
        for group_id in self.queue.over_age(holder, mine):
            assert self.queue.version - mine[group_id] > self.max_lag
            del self.reserved[holder, group_id]
            self.queue.cancel(group_id, holder)

    @precondition(lambda self: self.reserved or self.scoring)
    @rule(pick=picks)
    def quarantine(self, pick):
        holder, group_id = self._pick([*self.reserved, *self.scoring], pick)
        self.reserved.pop((holder, group_id), None)
        self.scoring.discard((holder, group_id))
        self._try(self.queue.quarantine, group_id, holder, "reward_error", "no")

    @rule(holder=holders, max_groups=st.integers(1, 4))
    def lease_for_scoring(self, holder, max_groups):
        depth = self.queue.stats().depth
        leases = self.queue.lease_for_scoring(holder, max_groups)
        assert len(leases) <= max_groups
        if leases and self.in_turns:
            assert depth["reserved"] == 0, "generation's turn has ended"
        ages = [lease.header.oldest_version for lease in leases]
        assert ages == sorted(ages)
        self.scoring |= {(holder, lease.group_id) for lease in leases}

    @precondition(lambda self: self.scoring)
    @rule(pick=picks)
    def commit_scores(self, pick):
        holder, group_id = self._pick(self.scoring, pick)
        self.scoring.remove((holder, group_id))
        self._try(self.queue.commit_scores, group_id, holder, b"s" * 60)

    @rule(holder=holders, ahead=st.booleans())
    def lease_batch(self, holder, ahead=False):
        before = self.queue.version
        version = before + ahead
        leases = self.queue.lease_batch(holder, version, self.groups_per_step, ahead=ahead)
        assert self.queue.version == before
        if leases is None and ahead:
            return
        if leases is None:
            stats = self.queue.stats()
            enough = stats.depth["scored"] >= self.groups_per_step
            assert "batch" in stats.waiting
            assert ("order_window" in stats.waiting["batch"]) == enough
            return
        assert len(leases) == self.groups_per_step
        for lease in leases:
            assert version - lease.header.oldest_version <= self.max_lag
            assert lease.ref.data == b"s" * 60
            self.training[holder, lease.group_id] = version

    @rule(holder=holders)
    def ack(self, holder):
        batch = [group_id for who, group_id in self.training if who == holder]
        for group_id in batch:
            del self.training[holder, group_id]
        before = self.queue.accounting().trained
        with contextlib.suppress(LeaseError):
            assert self.queue.ack(batch, holder) == len(batch)
        num_trained = self.queue.accounting().trained - before
        assert 0 <= num_trained <= len(batch)
        if num_trained:
            assert self.queue.version > 0, "an acknowledged step is a step done"

    @precondition(lambda self: self.training)
    @rule(pick=picks)
    def abandon(self, pick):
        holder, group_id = self._pick(self.training, pick)
        del self.training[holder, group_id]
        self._try(self.queue.abandon, [group_id], holder)

    @rule(step=st.sampled_from([1, 1, 1, 2, 2, -1]))
    def set_version(self, step):
        self.queue.set_version(max(0, self.queue.version + step))

    @rule(holder=holders)
    def holder_dies(self, holder):
        # It may still send what it made, like a process that was thought dead: the model keeps it.
        self.queue.release_holder(holder)

    @rule(seconds=st.sampled_from([1.0, 60.0, LEASE_S]), beats=st.sets(holders))
    def time_passes(self, seconds, beats):
        self.now += seconds
        for holder in beats:
            self.queue.heartbeat(holder)
        self.queue.expire()

    @staticmethod
    def _try(operation, *arguments):
        try:
            return operation(*arguments)
        except LeaseError:
            return None

    @invariant()
    def books_balance(self):
        if not hasattr(self, "queue"):
            return
        stats = self.queue.stats()
        books = stats.accounting
        assert books.balanced
        held = sum(stats.depth.values())
        assert books.pending == held + stats.returned_prompts
        assert self.admission.available + held == self.admission.num_slots
        assert books.drawn == stats.cursor
        released = self.admission.released
        assert (released["trained"], released["filtered"], released["stale"]) == (
            books.trained, books.filtered, books.stale,
        )  # fmt: skip
        assert sum(stats.lag_histogram.values()) == books.trained
        assert max(stats.lag_histogram, default=0) <= self.max_lag
        state = self.queue.state()
        assert len(set(state.pending)) == books.pending
        assert all(index < state.cursor for index in state.pending)

    @invariant()
    def one_payload_for_each_group_past_generation_and_none_besides(self):
        if not hasattr(self, "queue"):
            return
        gc.collect(0)
        stats = self.queue.stats()
        payloads = list(self.store.alive)
        assert len(payloads) == sum(stats.depth.values()) - stats.depth["reserved"]
        assert stats.num_bytes == sum(len(payload.data) for payload in payloads)

    def teardown(self):
        if not hasattr(self, "queue"):
            return
        for holder in HOLDERS:
            self.queue.release_holder(holder)
        depth = self.queue.stats().depth
        assert depth["reserved"] == depth["scoring"] == depth["training"] == 0


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
