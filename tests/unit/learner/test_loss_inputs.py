import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from pgpo_async.algorithms.losses import policy_loss
from pgpo_async.config.training import AlgorithmConfig
from pgpo_async.contracts import REFERENCE, ScoredGroup, VersionSpan
from pgpo_async.learner.batching import loss_normalizer
from pgpo_async.learner.loss_inputs import loss_inputs, micro_batch_loss


def flat(rows):
    return np.concatenate(rows)


def test_tokens_lie_group_after_group_rollout_after_rollout(make_group):
    groups = [make_group([2, 0, 3], [1.0, 0.0, 0.5]), make_group([1, 4], [0.0, 1.0], seed=1)]
    inputs = loss_inputs(groups, AlgorithmConfig(advantage="none"))
    assert inputs.lengths == (2, 0, 3, 1, 4)
    weights = flat([row for scored in groups for row in scored.token_weights])
    advantages = np.repeat([0.5, -0.5, 0.0, -0.5, 0.5], inputs.lengths)
    np.testing.assert_allclose(inputs.advantages_N, weights * advantages, rtol=1e-6)
    proximal = flat([row for scored in groups for row in scored.proximal_logprobs])
    np.testing.assert_array_equal(inputs.proximal_logprobs_N, proximal)
    behaviour = flat([r.behaviour_logprobs for scored in groups for r in scored.group.rollouts])
    np.testing.assert_array_equal(inputs.behaviour_logprobs_N, behaviour)
    picked = inputs.select([3, 1, 0])
    assert picked.lengths == (1, 0, 2)
    np.testing.assert_array_equal(picked.proximal_logprobs_N, proximal[[5, 0, 1]])


@pytest.mark.parametrize("mean", ["token_mean", "sequence_mean"])
def test_parts_of_any_split_sum_to_the_loss_worked_in_rows(make_group, mean):
    groups = [make_group([2, 5, 3], [1.0, 0.0, 0.5]), make_group([1, 4], [0.0, 1.0], seed=1)]
    config = AlgorithmConfig(loss=mean)
    inputs = loss_inputs(groups, config)
    logprobs_N = inputs.proximal_logprobs_N + 0.3 * torch.randn(15, generator=torch.manual_seed(0))
    logprobs_N.requires_grad_()
    normalizer = 15.0 if mean == "token_mean" else 5.0
    rows = logprobs_N.split(inputs.lengths)
    parts = [
        micro_batch_loss(torch.cat([rows[i] for i in indices]), inputs.select(indices), config, normalizer)[0]
        for indices in ([0, 3], [1], [2, 4])
    ]
    expected = sum(_row_loss(logprobs_N, inputs, i, mean) for i in range(5)) / normalizer
    torch.testing.assert_close(sum(parts), expected)
    found_N, wanted_N = (torch.autograd.grad(x, logprobs_N)[0] for x in (sum(parts), expected))
    torch.testing.assert_close(found_N, wanted_N)


def _row_loss(logprobs_N, inputs, index, mean):
    """The sum (or mean) of one response's token losses, by the published function."""
    columns = (
        logprobs_N,
        inputs.proximal_logprobs_N,
        inputs.behaviour_logprobs_N,
        inputs.advantages_N,
    )
    rows = [column.split(inputs.lengths)[index].unsqueeze(0) for column in columns]
    divisor = 1.0 if mean == "token_mean" else float(inputs.lengths[index])
    return policy_loss(*rows, torch.ones_like(rows[0]), normalizer=divisor)


def test_a_loss_that_is_not_finite_spoils_every_gradient(make_group):
    inputs = loss_inputs([make_group([2, 3], [1.0, 0.0])], AlgorithmConfig())
    inputs.advantages_N[0] = torch.nan
    logprobs_N = inputs.proximal_logprobs_N.clone().requires_grad_()
    loss, _ = micro_batch_loss(logprobs_N, inputs, AlgorithmConfig(), 5.0)
    loss.backward()
    assert logprobs_N.grad.isnan().all()


def test_no_tokens_give_a_loss_of_zero_with_a_gradient():
    inputs = loss_inputs([], AlgorithmConfig())
    logprobs_N = torch.zeros(0, requires_grad=True)
    loss, sums = micro_batch_loss(logprobs_N, inputs, AlgorithmConfig(), 1.0)
    loss.backward()
    assert loss.item() == 0.0
    assert sums["num_tokens"] == 0


def test_a_reward_that_is_not_a_number_is_refused(make_group):
    with pytest.raises(ValueError, match="rewards_B must be finite"):
        loss_inputs([make_group([2, 3], [1.0, float("nan")])], AlgorithmConfig())


def test_truncated_responses_teach_nothing_and_do_not_count_where_the_config_says_so(make_group):
    # make_group cuts what is longer than 4 tokens.
    group = make_group([2, 6, 3], [1.0, 0.0, 0.5])
    logprobs_N = torch.full((11,), -1.5, requires_grad=True)
    grads = {}
    for mean in ("token_mean", "sequence_mean"):
        config = AlgorithmConfig(loss=mean, mask_truncated=True)
        header = group.group.header()
        assert (header.num_truncated, header.num_truncated_tokens) == (1, 6)
        divisor = loss_normalizer([header], mean, mask_truncated=True)
        assert divisor == {"token_mean": 5.0, "sequence_mean": 2.0}[mean]
        loss, _ = micro_batch_loss(logprobs_N, loss_inputs([group], config), config, divisor)
        (grads[mean],) = torch.autograd.grad(loss, logprobs_N)
        # What is left is what a group would give whose second response were not there to be learnt from.
        whole, _ = micro_batch_loss(
            logprobs_N, loss_inputs([group], AlgorithmConfig(loss=mean)), config, divisor
        )
        (full,) = torch.autograd.grad(whole, logprobs_N)
        kept = torch.tensor([1.0] * 2 + [0.0] * 6 + [1.0] * 3)
        assert full[2:8].abs().min() > 0
        torch.testing.assert_close(grads[mean], full * kept)


def test_without_a_scorer_the_old_policy_lies_between_sampler_and_learner_by_the_tokens_age(make_group):
    group = make_group([2, 3], [1.0, 0.0])
    first, second = group.group.rollouts
    spans = (VersionSpan(version=4, start=0, end=1), VersionSpan(version=6, start=1, end=3))
    group = ScoredGroup.unscored(replace(group.group, rollouts=(first, replace(second, version_spans=spans))))
    config = AlgorithmConfig(advantage="none")
    inputs = loss_inputs([group], config, version=7)
    assert inputs.lags_N.tolist() == [7, 7, 3, 1, 1]
    behaviour_N = inputs.behaviour_logprobs_N
    logprobs_N = (behaviour_N + 0.01).requires_grad_()
    loss, sums = micro_batch_loss(logprobs_N, inputs, config, 5.0, interpolate=True)
    # lag / (lag + 1) of the way: the ratio is exp(0.01 / (lag + 1)), the importance weight the rest of it.
    ratio_N = torch.exp(0.01 / (inputs.lags_N + 1))
    assert float(sums["ratio_sum"]) == pytest.approx(float(ratio_N.sum()), rel=1e-6)
    assert float(loss.detach()) == pytest.approx(
        float((-inputs.advantages_N * math.exp(0.01)).sum() / 5), rel=1e-5
    )
    assert torch.autograd.grad(loss, logprobs_N)[0].isfinite().all()


def test_the_reference_kl_pulls_towards_the_first_model_and_is_told(make_group):
    group = make_group([3, 2], [0.5, 0.5])  # no advantage: what is left is the KL
    reference = tuple(row - 0.2 for row in group.proximal_logprobs)
    group = replace(group, signals={REFERENCE: reference})
    config = AlgorithmConfig(kl_coef=0.1, advantage="none")
    inputs = loss_inputs([group], config)
    logprobs_N = inputs.proximal_logprobs_N.clone().requires_grad_()
    loss, sums = micro_batch_loss(logprobs_N, inputs, config, 5.0)
    k3 = math.exp(-0.2) - 1 + 0.2
    assert float(loss.detach()) == pytest.approx(0.1 * k3, rel=1e-4)
    assert float(sums["reference_kl_sum"]) == pytest.approx(5 * k3, rel=1e-4)
    # The gradient of k3 in lp is 1 - r: downhill is towards the reference, which is below.
    (grad,) = torch.autograd.grad(loss, logprobs_N)
    torch.testing.assert_close(grad, torch.full((5,), 0.1 * (1 - math.exp(-0.2)) / 5), rtol=1e-4, atol=0)
    with pytest.raises(
        ValueError, match=r"groups must hold reference_logprobs with algorithm\.kl_coef above 0"
    ):
        loss_inputs([make_group([1], [1.0])], AlgorithmConfig(kl_coef=0.1, advantage="none"))
