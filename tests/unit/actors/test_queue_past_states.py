"""Random lives of a replay queue whose process dies, and whose learner goes back."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pgpo_async.actors.journal import Journal
from pgpo_async.actors.queue_memory import QueueMemory
from pgpo_async.actors.queue_state import QueueState
from pgpo_async.actors.replay_queue import ReplayQueue
from pgpo_async.config.pipeline import QueueConfig
from pgpo_async.config.training import FilterConfig
from pgpo_async.contracts import (
    LeaseError,
    Prompt,
    PromptError,
    Rollout,
    RolloutGroup,
    ScoredGroup,
    VersionSpan,
    decode,
    encode,
)
from pgpo_async.orchestration.admission import Admission


class Source:
    """Every eleventh row is unusable."""

    def prompt(self, index):
        if index % 11 == 10:
            raise PromptError("unusable", reason="corrupt_image", prompt_id=f"p{index}")
        return Prompt(prompt_id=f"p{index}", question="?", answer="!", images=(b"png",), index=index)


class Store:
    def put(self, data):
        return data


def group_of(reservation, version, reward):
    rollout = Rollout(
        response_token_ids=np.arange(3, dtype=np.int32),
        behaviour_logprobs=np.zeros(3, np.float32),
        version_spans=(VersionSpan(version=version, start=0, end=3),),
        finish_reason="stop",
        text="!",
        reward=reward,
        reward_parts={"accuracy": reward},
    )
    return RolloutGroup(
        group_id=reservation.group_id,
        prompt=reservation.prompt,
        prompt_token_ids=np.arange(2, dtype=np.int32),
        rollouts=(rollout, rollout),
    )


class Lives(RuleBasedStateMachine):
    """One generator, one scorer, one learner, and a queue that does not live long."""

    @initialize(
        max_lag=st.integers(0, 3),
        groups=st.integers(1, 3),
        scoring=st.booleans(),
        max_bytes=st.sampled_from([None, None, 20_000]),
    )
    def start(self, max_lag, groups, scoring, max_bytes):
        self.max_lag, self.groups_per_step, self.scoring = max_lag, groups, scoring
        self.max_bytes = max_bytes
        self.folder = tempfile.TemporaryDirectory(dir="/dev/shm")
        self.journal = None
        self._open()
        self.version = 0
        self.step = 0
        self.queue.mark("start")
        self.mark = ("start", 0, 0, frozenset())
        self.told = 0
        self.trained: set[str] = set()
        self.made: dict[str, int] = {}
        self.reserved: dict[str, object] = {}
        self.training: list[str] = []

    def _open(self):
        if self.journal is not None:
            self.journal.close()
        self.journal = Journal(Path(self.folder.name), sync_s=float("inf"))
        self.admission = Admission(self.max_lag, self.groups_per_step)
        self.queue = ReplayQueue(
            admission=self.admission,
            source=Source(),
            store=Store(),
            max_lag=self.max_lag,
            config=QueueConfig(),
            group_filter=FilterConfig(),
            memory=QueueMemory(self.journal, max_bytes=self.max_bytes),
            scoring=self.scoring,
        )

    @rule(times=st.integers(1, 6), reward=st.sampled_from([0.5, 0.5, 1.0]), commits=st.booleans())
    def generate(self, times, reward, commits):
        for _ in range(times):
            reservation = self.queue.reserve("generator")
            if reservation is None:
                return
            assert reservation.group_id not in self.trained, "what has trained is not drawn again"
            version = self.queue.version
            if reservation.group_id in self.made and self.max_bytes is None:
                age = version - self.made[reservation.group_id]
                assert age > self.max_lag, "what was generated is not generated again, unless it is too old"
            self.reserved[reservation.group_id] = group_of(reservation, version, reward)
            if commits:
                self.commit()

    @precondition(lambda self: self.reserved)
    @rule()
    def commit(self):
        group_id, group = self.reserved.popitem()
        if self.queue.commit(group_id, "generator", encode(group), group.header()) == "queued":
            self.made[group_id] = group.header().oldest_version

    @rule(most=st.integers(1, 6))
    def score(self, most):
        for lease in self.queue.lease_for_scoring("scorer", most):
            scored = ScoredGroup.unscored(decode(lease.ref))
            self.queue.commit_scores(lease.group_id, "scorer", encode(scored))

    @precondition(lambda self: not self.training)
    @rule()
    def lease(self):
        leases = self.queue.lease_batch("learner", self.version, self.groups_per_step)
        for lease in leases or ():
            group = decode(lease.ref)
            group = group.group if isinstance(group, ScoredGroup) else group
            assert group.header() == lease.header, "payload and header tell the same versions"
            assert lease.header.oldest_version <= self.version
            assert lease.group_id not in self.trained, "no group trains twice"
            self.training.append(lease.group_id)

    @precondition(lambda self: self.training)
    @rule(twice=st.booleans())
    def ack(self, twice):
        for _ in range(1 + twice):
            self.queue.ack(self.training, "learner", self.version)
        self.trained |= set(self.training)
        self.training = []
        self.step += 1
        self.version += 1

    @rule(late=st.booleans())
    def process_dies(self, late):
        """The queue is replaced; what generators have in hand they bring late, or never."""
        before, depth = self.queue.accounting(), self.queue.stats().depth
        self._open()
        after = self.queue.accounting()
        assert (after.trained, after.filtered, after.quarantined) == (
            before.trained, before.filtered, before.quarantined,
        )  # fmt: skip
        found = self.queue.stats().depth
        # More than there were, where some came late and found no slot.
        assert found["generated"] + found["scored"] >= sum(depth.values()) - depth["reserved"]
        reserved, self.reserved = self.reserved, {}
        if late:
            for group_id, group in reserved.items():
                self._bring_late(group_id, group)
        # The learner still trains what it has; it says so in `ack`.

    def _bring_late(self, group_id, group):
        try:
            how = self.queue.commit(group_id, "generator", encode(group), group.header())
        except LeaseError:
            return
        assert how == "queued"
        self.made[group_id] = group.header().oldest_version

    @precondition(lambda self: not self.training)
    @rule()
    def save(self):
        self.num_marks = getattr(self, "num_marks", 0) + 1
        name = f"mark {self.num_marks}"
        self.queue.mark(name)
        self.mark, self.told = (name, self.step, self.version, frozenset(self.trained)), self.version
        self.queue.forget_before(name)

    @rule(late=st.booleans(), dies_too=st.booleans(), above=st.booleans())
    def learner_goes_back(self, late, dies_too, above):
        """To the newest mark; versions rise on, or those of the mark are told again."""
        name, step, at, trained = self.mark
        to = self.version + 1 if above else self.told
        self.queue.rewind(name, QueueState(), at=at, to=to)
        if dies_too:
            self._open()
        # Weights as new as the mark's or newer count as the mark's, older ones as so much older.
        self.made = {group_id: min(made, self.told) + to - self.told for group_id, made in self.made.items()}
        self.step, self.version, self.told = step, to, to
        self.trained, self.training = set(trained), []
        assert self.queue.accounting().trained == len(trained)
        reserved, self.reserved = self.reserved, {}
        if late and above:
            for group_id, group in reserved.items():
                self._bring_late(group_id, group)

    @invariant()
    def the_journal_is_bounded(self):
        if getattr(self, "max_bytes", None) is not None:
            # A payload or two of each prompt that is not done with; ends stay until a checkpoint is written.
            assert self.journal.num_bytes < 2 * self.max_bytes + 12_000 * self.queue.stats().cursor

    @invariant()
    def books_balance(self):
        if not hasattr(self, "queue"):
            return
        stats = self.queue.stats()
        books = stats.accounting
        held = sum(stats.depth.values())
        assert books.balanced
        assert books.trained == len(self.trained)
        assert books.pending == held + stats.returned_prompts
        assert self.admission.available + held == self.admission.num_slots
        assert sum(self.admission.charged.values()) == held + sum(self.admission.released.values())
        assert books.drawn == stats.cursor
        assert sum(stats.lag_histogram.values()) == books.trained
        assert max(stats.lag_histogram, default=0) <= self.max_lag

    def teardown(self):
        if hasattr(self, "queue"):
            self.journal.close()
            self.folder.cleanup()


TestLives = Lives.TestCase
TestLives.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, phases=[Phase.generate, Phase.reuse]
)
