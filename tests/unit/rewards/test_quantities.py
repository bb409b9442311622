"""Tolerance and units: what may differ, by how much, and what may not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgpo_async.rewards.accuracy import answers_equal
from pgpo_async.rewards.units import split_unit


@pytest.mark.parametrize(
    ("answer", "reference", "tolerance", "equal"),
    [
        ("3.14", "3.15", 0.0, False),
        ("3.14", "3.15", 0.01, True),
        ("101", "100", 0.01, True),
        ("102", "100", 0.01, False),
        ("-100", "100", 0.5, False),
        ("0.001", "0", 0.01, False),  # no share of nothing is anything
        ("0.33", "1/3", 0.01, True),
        ("3.14", r"\pi", 0.01, True),
        ("3.0", r"\pi", 0.01, False),
        ("1.41", r"\sqrt{2}", 0.01, True),
        (r"\sqrt{2}", "1.41", 0.01, True),
        ("49.9%", "50%", 0.01, True),
        ("0.499", "50%", 0.01, True),
        ("99 cm", "1 m", 0.01, True),
        ("99 cm", "1 m", 0.001, False),
        ("3.14 cm", "3.15 m", 0.01, False),
        ("B", "A", 0.5, False),
        ("(1,2.001)", "(1,2)", 0.01, False),  # of numbers only
    ],
)
def test_a_number_may_be_off_by_a_share_of_the_reference(
    answer: str, reference: str, tolerance: float, equal: bool
) -> None:
    assert answers_equal(answer, reference, tolerance=tolerance) == equal


@settings(deadline=None)
@given(thousandths=st.integers(0, 20), size=st.integers(1, 10**6), sign=st.sampled_from([1, -1]))
def test_the_tolerance_has_its_edge_where_it_says_on_both_sides(
    thousandths: int, size: int, sign: int
) -> None:
    answer = f"{sign * size * (1000 + thousandths)}e-3"
    assert answers_equal(answer, str(sign * size), tolerance=0.010000001) == (thousandths <= 10)


@pytest.mark.parametrize(
    ("text", "value", "dimension"),
    [
        ("12 cm", "12", "length"),
        (r"12 \mathrm{cm}^{2}", "12", "area"),
        (r"2\sqrt{3}\text{ m}", r"2\sqrt{3}", "length"),
        ("30^{\\circ}", "30", "angle"),
        ("4 cubic meters", "4", "volume"),
        ("x + 2 m", "x + 2 m", None),
        ("12 apples", "12 apples", None),
        ("cm", "cm", None),
        ("", "", None),
    ],
)
def test_a_known_unit_is_split_from_a_value_without_variables(
    text: str, value: str, dimension: str | None
) -> None:
    found, unit = split_unit(text)
    assert (found, unit and unit.dimension) == (value, dimension)
