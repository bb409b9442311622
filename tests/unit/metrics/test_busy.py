"""Busy time is the union of overlapping work."""

import pytest

from pgpo_async.metrics.busy import BusyClock


def test_overlapping_work_counts_once_and_gaps_do_not():
    now = [0.0]
    clock = BusyClock(lambda: now[0])
    with clock.working():
        now[0] = 1.0
        with clock.working():
            now[0] = 3.0
    now[0] = 10.0
    with clock.working():
        now[0] = 10.5
        assert clock.total_s == pytest.approx(3.5), "an open interval counts"
    assert clock.total_s == pytest.approx(3.5)


def test_work_that_fails_still_ends():
    now = [0.0]
    clock = BusyClock(lambda: now[0])

    def fail():
        with clock.working():
            now[0] = 2.0
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    now[0] = 9.0
    assert clock.total_s == pytest.approx(2.0)
