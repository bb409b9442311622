import numpy as np
import pytest

from pgpo_async.config.training import AlgorithmConfig
from pgpo_async.learner.loss_inputs import loss_inputs
from pgpo_async.learner.step_metrics import SUM_NAMES, group_sums, largest_ratio, largest_weight, means


def test_group_sums_give_the_means_of_the_whole_step(make_group):
    with_image = {"num_image_tokens": 7.0, "boosted_share": 0.5}
    groups = [
        make_group([2, 5], [1.0, 0.0], images=(b"png",), metrics=with_image),
        make_group([3, 1], [0.5, 0.5], seed=1, metrics={"num_image_tokens": 0.0, "boosted_share": 0.0}),
    ]
    sums = group_sums(groups, loss_inputs(groups, AlgorithmConfig()))
    found = means({**dict.fromkeys(SUM_NAMES, 0.0), "num_tokens": 11.0, **sums})
    seen = np.concatenate(groups[0].dependency).astype(np.float64)
    weights = np.concatenate([row for g in groups for row in g.token_weights])
    assert found["num_groups"] == 2
    assert found["num_rollouts"] == 4
    assert found["reward_mean"] == 0.5
    assert found["truncated_share"] == 0.25
    assert found["response_tokens_mean"] == 2.75
    assert found["dependency_mean"] == pytest.approx(seen.mean())
    assert found["dependency_log_mean"] == pytest.approx(np.log1p(seen).mean())
    assert found["boosted_share"] == 0.5
    assert found["weight_mean"] == pytest.approx(weights.mean())
    assert largest_weight(groups) == weights.max()


def test_nothing_at_all_gives_zeros_and_no_division_by_zero():
    sums = group_sums([], loss_inputs([], AlgorithmConfig()))
    found = means({**dict.fromkeys(SUM_NAMES, 0.0), **sums})
    assert found.pop("fresh_slope") == 1.0
    assert set(found.values()) == {0.0}
    assert largest_weight([]) == 0.0


def test_the_share_of_advantage_on_the_most_dependent_tenth_is_over_responses_with_an_image(make_group):
    # 12 tokens: the top tenth is 2, weights 3 there and 1 elsewhere: 6 of 16. Advantages are equal in size.
    group = make_group([12, 12], [1.0, 0.0], images=(b"png",))
    for dependency, weights in zip(group.dependency, group.token_weights, strict=True):
        weights[:] = 1.0
        weights[np.argsort(dependency)[-2:]] = 3.0
    hidden = make_group([4, 4], [1.0, 0.0], seed=1)
    sums = group_sums([group, hidden], loss_inputs([group, hidden], AlgorithmConfig()))
    found = means({**dict.fromkeys(SUM_NAMES, 0.0), **sums})
    assert found["advantage_top_share"] == pytest.approx(6 / 16)


def test_the_tail_of_the_importance_weights_is_the_largest_ratio(make_group):
    group = make_group([3, 2], [1.0, 0.0])
    group.proximal_logprobs[1][0] = group.group.rollouts[1].behaviour_logprobs[0] + np.log(7.0)
    assert largest_ratio(loss_inputs([group], AlgorithmConfig())) == pytest.approx(7.0, rel=1e-5)


def test_dependency_that_was_not_measured_does_not_count(make_group):
    group = make_group([2, 2], [1.0, 0.0], images=(b"png",))
    group.dependency[0][:] = np.nan
    sums = group_sums([group], loss_inputs([group], AlgorithmConfig()))
    assert sums["num_image_tokens"] == 2
    assert sums["dependency_sum"] == pytest.approx(float(group.dependency[1].sum()))
