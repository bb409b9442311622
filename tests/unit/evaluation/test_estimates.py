"""Errors of accuracies and differences, against formulas, enumeration and chance."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpo_async.evaluation.estimates import (
    NUM_FLIPS,
    Estimate,
    average,
    estimate,
    paired_average,
    paired_difference,
    pass_at_k,
)


def test_the_error_is_the_standard_deviation_over_prompts_by_the_root_of_their_number():
    values = [1.0, 0.0, 0.5, 0.25, 1.0]
    found = estimate(values)
    assert found.mean == pytest.approx(0.55)
    assert found.standard_error == pytest.approx(np.std(values, ddof=1) / math.sqrt(5))
    half = 1.959964 * found.standard_error
    assert found.interval == pytest.approx((0.55 - half, 0.55 + half))


def test_prompts_that_belong_together_count_as_one_draw():
    alone = estimate([1.0, 0.0, 1.0, 0.0])
    doubled = estimate([1.0, 1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0], list("aabbccdd"))
    assert doubled.mean == alone.mean
    assert doubled.standard_error == pytest.approx(alone.standard_error), "twice the same tells nothing new"
    assert estimate([1.0, 1.0, 0.0, 0.0], list("abcd")) == estimate([1.0, 1.0, 0.0, 0.0])


def test_one_prompt_has_no_error_that_could_be_known_and_none_is_refused():
    assert estimate([1.0]).standard_error == math.inf
    assert estimate([1.0]).interval == (0.0, 1.0)
    with pytest.raises(ValueError, match="at least one value, got none"):
        estimate([])


def test_the_average_weighs_benchmarks_alike_and_adds_their_variances():
    found = average([Estimate(mean=0.2, standard_error=0.03), Estimate(mean=0.6, standard_error=0.04)])
    assert (found.mean, found.standard_error) == pytest.approx((0.4, 0.025))


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_all_choices_of_k_responses_that_hold_a_right_one(case):
    num_right, num_samples, k = case
    responses = [True] * num_right + [False] * (num_samples - num_right)
    choices = list(itertools.combinations(responses, k))
    assert pass_at_k(num_right, num_samples, k) == pytest.approx(sum(map(any, choices)) / len(choices))


@pytest.mark.parametrize("wrong", [(3, 2, 1), (-1, 2, 1), (1, 2, 3), (1, 2, 0)])
def test_pass_at_k_refuses_what_cannot_be(wrong):
    with pytest.raises(ValueError, match="num_right"):
        pass_at_k(*wrong)


def means(values):
    return {str(number): value for number, value in enumerate(values)}


def test_the_test_agrees_with_all_flips_of_few_prompts():
    ours, theirs = means([1.0, 0.75, 0.5, 1.0, 0.25, 1.0]), means([0.0, 0.5, 0.5, 0.25, 0.5, 0.0])
    each = np.array([ours[p] - theirs[p] for p in ours])
    sums = [abs(np.dot(signs, each)) for signs in itertools.product([-1, 1], repeat=6)]
    exact = np.mean([total >= abs(each.sum()) - 1e-9 for total in sums])
    found = paired_difference(ours, theirs)
    assert found.mean == pytest.approx(each.mean())
    assert found.p_value == pytest.approx(exact, abs=3 * math.sqrt(exact / NUM_FLIPS))


def test_models_that_do_not_differ_are_told_apart_as_seldom_as_the_level_says():
    random = np.random.default_rng(0)
    told = 0
    for _ in range(200):
        rights = random.random((2, 60)) < 0.6
        pair = (means(rights[0].astype(float)), means(rights[1].astype(float)), None)
        told += paired_average([pair], seed=1).p_value < 0.05
    assert told / 200 < 0.1, "5 % but for chance"


def test_only_prompts_that_both_have_are_compared_and_none_in_common_is_refused():
    found = paired_difference({"a": 1.0, "b": 1.0}, {"b": 0.0, "c": 1.0})
    assert (found.mean, found.num_prompts) == (1.0, 1)
    with pytest.raises(ValueError, match="in common"):
        paired_difference({"a": 1.0}, {"b": 1.0})


def test_a_difference_over_benchmarks_weighs_them_alike_and_flips_groups_whole():
    small = (means([1.0, 1.0]), means([0.0, 0.0]), None)
    large = (means([0.0] * 100), means([0.0] * 100), None)
    assert paired_average([small, large]).mean == pytest.approx(0.5)
    together = {str(n): "same" for n in range(8)}
    ours, theirs = means([1.0] * 8), means([0.0] * 8)
    assert paired_difference(ours, theirs).p_value < 0.05
    assert paired_difference(ours, theirs, together).p_value == 1.0, "one draw shows nothing"
