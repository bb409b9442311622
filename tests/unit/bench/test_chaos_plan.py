"""Who is struck in `bench chaos`: the same with the same seed, everybody, and within the run."""

import signal
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpo_async.bench.chaos_plan import DRIVERS, QUIET_STEPS, SHARES, draw_blows


@given(seed=st.integers(0, 2**32), kills=st.integers(len(SHARES), 400), steps=st.integers(10, 600))
def test_a_plan_is_its_seeds_and_strikes_everybody_within_the_run(seed, kills, steps):
    blows = draw_blows(seed, kills, steps)
    assert blows == draw_blows(seed, kills, steps)
    assert len(blows) == kills
    assert {blow.target for blow in blows} == set(SHARES)
    due = [blow.after_step for blow in blows]
    assert due == sorted(due)
    assert QUIET_STEPS <= due[0] <= due[-1] <= steps - QUIET_STEPS
    assert all(0 <= blow.which < 1 for blow in blows)
    assert all(blow.signal is signal.SIGKILL for blow in blows if blow.target in DRIVERS)


def test_another_seed_is_another_plan_of_the_same_shares():
    first, second = draw_blows(0, 200, 400), draw_blows(1, 200, 400)
    assert first != second
    assert Counter(b.target for b in first) == Counter(b.target for b in second)
    frozen = sum(blow.signal is signal.SIGSTOP for blow in first)
    assert 30 <= frozen <= 70


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kills": 3}, "kills must be at least 9"),
        ({"steps": 8}, "steps must be more than 8"),
        ({"targets": ("generator", "scoerr")}, "must be of generator, .*got 'scoerr'"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw_blows(**{"seed": 0, "kills": 50, "steps": 100, **arguments})
