import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pgpo_async.report.scales import fitted

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(FINITE, max_size=5), st.booleans())
@example([2.2e-311], False)
@example([1e-311, 3e-311], True)
@example([5.3e-300, 6.5e-300], False)
def test_every_value_has_a_place_on_a_linear_axis_and_ticks_are_on_it(values, from_zero):
    axis = fitted(values, start=100.0, end=0.0, from_zero=from_zero)
    for value in values:
        assert -1e-6 <= axis.at(value) <= 100 + 1e-6
    assert axis.low < axis.high
    assert all(
        axis.low - 1e-9 * abs(axis.low) <= tick <= axis.high + 1e-9 * abs(axis.high) for tick in axis.ticks()
    )
    assert len(axis.ticks()) <= 12


@given(st.lists(st.floats(min_value=0, allow_infinity=False), min_size=1, max_size=5))
def test_every_positive_value_has_a_place_on_a_logarithmic_axis(values):
    axis = fitted(values, start=0.0, end=100.0, log=True)
    assert 0 < axis.low < axis.high
    for value in values:
        assert -1e-6 <= axis.at(value) <= 100 + 1e-6
    assert len(axis.ticks()) <= 12


@pytest.mark.parametrize(
    ("values", "log", "expected"),
    [
        ([0.1, 0.9], False, [0.2, 0.4, 0.6, 0.8]),
        ([1, 24], False, [0.0, 5.0, 10.0, 15.0, 20.0, 25.0]),
        ([1e-4, 0.1], True, [0.0001, 0.001, 0.01, 0.1]),
        ([3e-12, 1e-3], True, [1e-11, 1e-9, 1e-07, 1e-05, 0.001]),
    ],
)
def test_ticks_are_round(values, log, expected):
    assert fitted(values, start=0, end=1, log=log).ticks() == pytest.approx(expected)


def test_a_constant_curve_is_in_the_middle():
    assert fitted([5.0, 5.0], start=0, end=100).at(5.0) == pytest.approx(50)
