import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpo_async.report.tokens.colours import MIN_CONTRAST, RAMPS, colours, contrast, ink_on, lightness
from pgpo_async.report.tokens.scales import page_scale
from pgpo_async.report.tokens.values import QUANTITIES, GroupValues

VALUES = {
    "dependency": st.floats(0, 10, width=32),
    "weight": st.floats(0, 2000, width=32),
    "advantage": st.floats(-500, 500, width=32),
    "entropy": st.floats(0, 12, width=32),
    "importance": st.floats(0, 4.8e8, width=32),
    "lag": st.integers(0, 300).map(float),
}
BOTH_SIDES = ("advantage", "importance")


def values_of(key, rows):
    row = tuple(np.asarray(row, np.float32) for row in rows)
    return GroupValues(rows={key: row}, missing={}, capped=(), advantages=(), boosted_share=None, tau=0.4)


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("key", sorted(RAMPS))
def test_text_can_be_read_on_every_colour(key, dark):
    assert min(contrast(ink_on(colour), colour) for colour in colours(RAMPS[key], dark=dark)) >= MIN_CONTRAST


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("key", sorted(RAMPS))
def test_a_ramp_is_read_by_lightness_alone(key, dark):
    light = [lightness(colour) for colour in colours(RAMPS[key], dark=dark)]
    # What is nothing is nearest to the page; from there on each colour differs more from it.
    middle = len(light) // 2 if key in BOTH_SIDES else 0
    for side in (light[middle:], light[middle::-1]):
        steps = np.diff(side) * (1 if dark else -1)
        assert (steps > 0.02).all()


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)


@pytest.mark.parametrize("key", [quantity.key for quantity in QUANTITIES])
@given(data=st.data())
def test_a_larger_value_never_has_a_colour_further_back(key, data):
    rows = data.draw(st.lists(st.lists(VALUES[key], max_size=8), max_size=3))
    scale = page_scale(key, [values_of(key, rows)])
    flat = sorted(value for row in rows for value in row)
    found = [scale.colour(value) for value in flat]
    assert found == sorted(found)
    assert all(0 <= colour < RAMPS[key].count for colour in (*found, *scale.colours))
    assert all(0 <= place <= 1 for place, _ in scale.labels)


@pytest.mark.parametrize(("key", "nothing"), [("advantage", 0.0), ("importance", 1.0)])
def test_what_moves_nothing_has_the_middle_colour(key, nothing):
    scale = page_scale(key, [values_of(key, [[nothing, 3.0, 0.01]])])
    assert scale.colour(nothing) == RAMPS[key].count // 2
    assert scale.labels[2][1] == str(int(nothing))


def test_rounding_noise_is_not_stretched_over_all_colours():
    assert page_scale("importance", [values_of("importance", [[1.0001, 0.9999]])]).colour(1.0001) == 5
    assert page_scale("dependency", [values_of("dependency", [[1e-7, 0.0]])]).colour(1e-7) == 0
    assert page_scale("weight", [values_of("weight", [[1.0, 1.0]])]).colour(1.0) < 7


def test_values_that_are_not_known_move_no_scale():
    known = page_scale("entropy", [values_of("entropy", [[0.5, 2.0]])])
    assert page_scale("entropy", [values_of("entropy", [[0.5, np.nan, 2.0]])]) == known


def test_few_lags_have_colours_far_apart_and_many_share_the_last():
    few = page_scale("lag", [values_of("lag", [[0, 1, 2]])])
    assert [few.colour(lag) for lag in (0, 1, 2)] == [0, 2, 5]
    assert [text for _, text in few.labels] == ["0", "1", "2"]
    many = page_scale("lag", [values_of("lag", [[0, 40]])])
    assert many.colour(7) == many.colour(40) == 7
    assert many.labels[-1][1] == "7 or more"
