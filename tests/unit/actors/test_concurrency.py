"""An engine's prompts in flight follow its cache: slowly up, quickly down."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpo_async.actors.concurrency import INTERVAL_S, ConcurrencyLimit, EngineLoad

IDLE = EngineLoad(cache_use=0.2, num_waiting=0, num_preempted=0)
PREEMPTED = EngineLoad(cache_use=0.9, num_waiting=3, num_preempted=2)
FULL = EngineLoad(cache_use=0.99, num_waiting=0, num_preempted=0)


def test_it_grows_by_a_little_while_the_engine_has_room_and_is_full_of_work() -> None:
    limit = ConcurrencyLimit(start=32, most=40)
    for _ in range(3):
        limit.adapt(IDLE, num_in_flight=limit.value, now_s=0.0)
    assert limit.value == 38
    for _ in range(5):
        limit.adapt(IDLE, num_in_flight=limit.value, now_s=0.0)
    assert limit.value == 40, "admission's bound is the most"


@pytest.mark.parametrize("load", [PREEMPTED, FULL])
def test_it_is_cut_at_once_by_preemption_or_a_full_cache(load: EngineLoad) -> None:
    limit = ConcurrencyLimit(start=32, most=96)
    limit.adapt(load, num_in_flight=32, now_s=0.0)
    assert limit.value == 24
    limit.adapt(load, num_in_flight=20, now_s=9.0)
    assert limit.value == 15, "cut from what was in flight, not from a limit that was never reached"
    assert limit.num_cuts == 2


@pytest.mark.parametrize(
    ("load", "num_in_flight"),
    [
        (IDLE, 31),
        (EngineLoad(cache_use=0.2, num_waiting=1, num_preempted=0), 32),
        (EngineLoad(cache_use=0.9, num_waiting=0, num_preempted=0), 32),
    ],
)
def test_it_stays_without_need_or_without_room(load: EngineLoad, num_in_flight: int) -> None:
    limit = ConcurrencyLimit(start=32, most=96)
    limit.adapt(load, num_in_flight=num_in_flight, now_s=0.0)
    assert limit.value == 32


def test_one_change_shows_before_the_next() -> None:
    limit = ConcurrencyLimit(start=8, most=9)
    assert limit.due(0.0)
    limit.adapt(IDLE, num_in_flight=8, now_s=0.0)
    assert not limit.due(INTERVAL_S / 2)
    assert limit.due(INTERVAL_S)


@given(
    st.lists(st.sampled_from([IDLE, PREEMPTED, FULL]), max_size=60), st.integers(1, 40), st.integers(0, 40)
)
def test_it_never_leaves_its_bounds(loads: list[EngineLoad], start: int, more: int) -> None:
    limit = ConcurrencyLimit(start, start + more)
    for i, load in enumerate(loads):
        limit.adapt(load, num_in_flight=limit.value, now_s=float(i))
        assert 1 <= limit.value <= start + more


def test_an_engine_that_frees_its_cache_again_settles_near_what_it_holds() -> None:
    """A cache for 50 prompts: the limit goes up and down around it, and works at most of it."""
    limit, seen = ConcurrencyLimit(start=16, most=200), []
    for i in range(300):
        use = limit.value / 50
        load = EngineLoad(cache_use=min(use, 1.0), num_waiting=0, num_preempted=max(0, limit.value - 50))
        limit.adapt(load, num_in_flight=limit.value, now_s=float(i))
        seen.append(limit.value)
    settled = seen[100:]
    assert 30 <= sum(settled) / len(settled) <= 50
    assert max(settled) <= 50
