import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pgpo_async.report.thinning import buckets_of, thinned

CURVES = hnp.arrays(np.float64, st.integers(1, 300), elements=st.floats(width=64) | st.just(float("nan")))


@given(CURVES, st.integers(1, 50))
def test_every_bucket_keeps_its_lowest_and_highest_value(values, num):
    buckets = buckets_of(np.arange(len(values)), num)
    found = thinned(values, buckets)
    for bucket, (start, end) in enumerate(zip(buckets.edges, buckets.edges[1:], strict=False)):
        inside = values[start:end][np.isfinite(values[start:end])]
        if not len(inside):
            assert np.isnan([found.low[bucket], found.mean[bucket], found.high[bucket]]).all()
            continue
        assert (found.low[bucket], found.high[bucket]) == (inside.min(), inside.max())
        assert found.low[bucket] <= found.mean[bucket] <= found.high[bucket]


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=300, unique=True).map(sorted), st.integers(1, 50))
def test_buckets_hold_every_step_once_and_are_of_even_size(steps, num):
    buckets = buckets_of(np.array(steps), num)
    sizes = np.diff(buckets.edges)
    assert (buckets.edges[0], buckets.edges[-1]) == (0, len(steps))
    assert sizes.min() >= 1
    assert sizes.max() - sizes.min() <= 1
    assert len(sizes) == min(num, len(steps))
    assert (buckets.first_steps[0], buckets.last_steps[-1]) == (steps[0], steps[-1])


@given(hnp.arrays(np.float64, st.integers(1, 40), elements=st.floats(-1e6, 1e6)))
def test_a_short_curve_is_itself(values):
    found = thinned(values, buckets_of(np.arange(len(values)), 40))
    for kept in (found.low, found.mean, found.high):
        np.testing.assert_array_equal(kept, values)


def test_a_mean_is_of_the_measured_values_alone():
    found = thinned(np.array([1.0, np.nan, 3.0, np.nan]), buckets_of(np.arange(4), 1))
    assert found.mean.tolist() == [2.0]


def test_no_steps_have_no_buckets():
    buckets = buckets_of(np.zeros(0, np.int64))
    assert (buckets.num, len(thinned(np.zeros(0), buckets).mean)) == (0, 0)
