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
        assert admission.num_charged == held + sum(admission.released.values())
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
    assert admission.released == {
        "trained": 0, "filtered": 1, "stale": 0, "quarantined": 0, "returned": 0,
    }  # fmt: skip


@pytest.mark.parametrize(("max_lag", "groups"), [(-1, 1), (0, 0)])
def test_sizes_that_make_no_sense_are_refused(max_lag, groups):
    with pytest.raises(ValueError, match="must be at least"):
        Admission(max_lag, groups)
