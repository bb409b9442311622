"""The lag bounds that admission slots imply, over random schedules (see the module's docstring)."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgpo_async.contracts import LeaseError
from pgpo_async.orchestration.admission import Admission

EVENTS = ("reserve", "finish", "score", "filter", "lease", "ack")


@dataclasses.dataclass
class Group:
    order: int
    weights: int
    state: str = "generating"


class Schedule:
    """A pipeline reduced to its order of events: who is admitted, done, filtered, trained when."""

    def __init__(self, admission: Admission, *, in_order: bool, publish_delay: int = 0, gated: bool = False):
        self.admission, self.in_order = admission, in_order
        self.publish_delay, self.gated = publish_delay, gated
        self.version, self.steps, self.admitted = 0, 0, 0
        self.live: list[Group] = []
        self.training: list[Group] = []
        self.lags: list[int] = []

    def step(self, event: str, choice: int) -> None:
        getattr(self, event)(choice)

    def reserve(self, choice: int) -> None:
        if self.admission.available == 0:
            return
        num_ahead = self.admission.num_slots - self.admission.available
        weights = max(0, self.version - (choice % (self.publish_delay + 1)))
        if self.gated:
            weights = max(weights, self.admission.oldest_useful_version(self.version, num_ahead))
        self.admission.charge(str(self.admitted))
        self.live.append(Group(self.admitted, weights))
        self.admitted += 1

    def _move(self, choice: int, before: str, after: str) -> None:
        ready = [g for g in self.live if g.state == before]
        if ready:
            ready[choice % len(ready)].state = after

    def finish(self, choice: int) -> None:
        self._move(choice, "generating", "generated")

    def score(self, choice: int) -> None:
        self._move(choice, "generated", "scored")

    def filter(self, choice: int) -> None:
        done = [g for g in self.live if g.state == "generated"]
        if done:
            group = done[choice % len(done)]
            self.live.remove(group)
            self.admission.release(str(group.order), "filtered")

    def lease(self, choice: int) -> None:
        size = self.admission.groups_per_step
        pool = self.live[:size] if self.in_order else self.live
        ready = [g for g in pool if g.state == "scored"]
        if self.training or len(ready) < size:
            return
        if self.admission.order_window is not None:
            if self.admission.must_wait_for([str(g.order) for g in ready[:size]]):
                return
            choice = 0
        first = 0 if self.in_order else choice % (len(ready) - size + 1)
        self.training = ready[first : first + size]
        self.live = [g for g in self.live if g not in self.training]
        self.lags += [self.version - g.weights for g in self.training]

    def ack(self, _choice: int) -> None:
        if self.training:
            self.version += 1
            self.steps += 1
            for group in self.training:
                self.admission.release(str(group.order), "trained")
            self.training = []


def run(schedule: Schedule, events: list[tuple[str, int]]) -> Schedule:
    for event, choice in events:
        schedule.step(event, choice)
        admission = schedule.admission
        held = len(schedule.live) + len(schedule.training)
        assert admission.available + held == admission.num_slots
        assert sum(admission.charged.values()) == held + sum(admission.released.values())
    return schedule


# Most random schedules train little: events come in runs, so that slots fill up and batches complete.
bursts = st.lists(
    st.tuples(st.sampled_from(EVENTS), st.integers(1, 8), st.integers(0, 1000)), max_size=120
).map(lambda runs: [(event, choice + i) for event, times, choice in runs for i in range(times)])
sizes = st.tuples(st.integers(0, 3), st.integers(1, 4))


@settings(max_examples=200, deadline=None)
@given(sizes, bursts, st.integers(0, 3))
def test_groups_taken_in_order_lag_at_most_max_lag_plus_the_age_of_their_weights(size, events, delay):
    schedule = run(Schedule(Admission(*size), in_order=True, publish_delay=delay), events)
    assert max(schedule.lags, default=0) <= size[0] + delay


@settings(max_examples=200, deadline=None)
@given(sizes, bursts, st.integers(0, 3))
def test_weights_of_the_oldest_useful_version_keep_late_publication_within_max_lag(size, events, delay):
    schedule = run(Schedule(Admission(*size), in_order=True, publish_delay=delay, gated=True), events)
    assert max(schedule.lags, default=0) <= size[0]


@settings(max_examples=200, deadline=None)
@given(sizes, bursts, st.integers(0, 3))
def test_the_mean_lag_is_bounded_in_any_order(size, events, delay):
    schedule = run(Schedule(Admission(*size), in_order=False, publish_delay=delay), events)
    assert sum(schedule.lags) <= len(schedule.lags) * (size[0] + delay)


windowed = sizes.flatmap(
    lambda size: st.builds(Admission, st.just(size[0]), st.just(size[1]), st.integers(0, size[0] * size[1]))
)


@settings(max_examples=300, deadline=None)
@given(windowed, bursts, st.integers(0, 3), st.booleans())
def test_a_window_of_order_is_paid_for_in_slots_and_keeps_every_lag_within_max_lag(
    admission, events, delay, gated
):
    schedule = run(Schedule(admission, in_order=False, publish_delay=delay, gated=gated), events)
    assert admission.lag_bound == admission.max_lag
    assert max(schedule.lags, default=0) <= admission.max_lag + (0 if gated else delay)


class OneSlotTooMany(Admission):
    @property
    def num_slots(self) -> int:
        return super().num_slots + 1


def overtaken_as_often_as_can_be(admission: Admission) -> int:
    """Return the lag of the last of the first groups to be admitted, which is ready when it is waited for."""
    schedule = Schedule(admission, in_order=False)
    late = admission.num_slots - 1
    for _ in range(20):
        for _ in range(admission.num_slots):
            schedule.reserve(0)
        for group in schedule.live:
            group.state = "generating" if group.order == late else "scored"
        schedule.lease(0)
        if not schedule.training:
            next(g for g in schedule.live if g.order == late).state = "scored"
            schedule.lease(0)
            trained = [g.order for g in schedule.training]
            return schedule.lags[trained.index(late) - len(trained)]
        schedule.ack(0)
    raise AssertionError("it was never waited for")


@pytest.mark.parametrize("window", [0, 1, 3, 5])
def test_the_bound_of_a_window_is_tight_and_one_slot_too_many_is_seen(window):
    assert overtaken_as_often_as_can_be(Admission(2, 3, window)) == 2
    assert overtaken_as_often_as_can_be(OneSlotTooMany(2, 3, window)) == 3


def test_one_slot_too_many_is_seen_in_order():
    assert max(saturated(OneSlotTooMany(2, 3), 12, straggler=False).lags) == 3


def test_a_straggler_is_waited_for_once_its_window_is_used_up():
    schedule = Schedule(Admission(2, 2, order_window=3), in_order=False)
    trained = []
    for _ in range(6):
        for _ in range(3):
            schedule.reserve(0)
        for group in schedule.live:
            group.state = "generating" if group.order == 0 else "scored"
        schedule.lease(0)
        trained.append(len(schedule.training))
        schedule.ack(0)
    assert trained == [2, 0, 0, 0, 0, 0], "a second batch would be the third and fourth to overtake it"
    schedule.live[0].state = "scored"
    schedule.lease(0)
    assert schedule.training[0].order == 0
    assert schedule.lags[-2] == 1


def test_work_too_old_for_any_step_is_over_age():
    admission = Admission(2, 4)
    assert admission.over_age(5, {"a": 2, "b": 3, "c": 5, "d": 0}) == ["a", "d"]


def saturated(admission: Admission, steps: int, *, straggler: bool, delay: int = 0) -> Schedule:
    """Always full, in order, one batch after another; a straggler is done only before the last step."""
    schedule = Schedule(admission, in_order=not straggler, publish_delay=delay)
    for step in range(steps):
        for _ in range(admission.num_slots):
            schedule.reserve(delay)
        for group in schedule.live:
            if not straggler or group.order > 0 or step == steps - 1:
                group.state = "scored"
        schedule.lease(0)
        schedule.ack(0)
    return schedule


@pytest.mark.parametrize("delay", [0, 2])
def test_the_bound_in_order_is_tight(delay):
    assert max(saturated(Admission(3, 2), 12, straggler=False, delay=delay).lags) == 3 + delay


def test_slots_alone_do_not_bound_the_lag_of_a_straggler():
    lags = saturated(Admission(1, 4), 20, straggler=True).lags
    assert max(lags) == 19
    assert sum(lags) / len(lags) <= 1


def test_slots_are_charged_and_released_once_and_counted_by_reason():
    admission = Admission(max_lag=0, groups_per_step=2)
    admission.charge("a")
    with pytest.raises(LeaseError, match="must not hold a slot"):
        admission.charge("a")
    admission.charge("b")
    with pytest.raises(LeaseError, match="all 2 are held"):
        admission.charge("c")
    admission.release("a", "filtered")
    with pytest.raises(LeaseError, match="holds none"):
        admission.release("a", "trained")
    with pytest.raises(ValueError, match="reason must be one of"):
        admission.release("b", "lost")
    assert admission.available == 1
    admission.charge("a", "again")
    assert admission.charged == {"drawn": 2, "again": 1}
    with pytest.raises(ValueError, match="reason must be one of"):
        admission.charge("d", "first")
    assert admission.released == {
        "trained": 0, "filtered": 1, "stale": 0, "quarantined": 0, "returned": 0, "cancelled": 0,
    }  # fmt: skip


@pytest.mark.parametrize("sizes", [(-1, 1), (0, 0), (1, 4, 5), (1, 4, -1)])
def test_sizes_that_make_no_sense_are_refused(sizes):
    with pytest.raises(ValueError, match="must be"):
        Admission(*sizes)
