import math

import pytest
import torch

from pgpo_async.algorithms.losses import aggregate, papo_terms, policy_loss, reference_kl, token_losses

LOG = math.log

# Hand-worked tokens: ratio, advantage -> loss, with clip (0.2, 0.28), dual clip 3, importance weight 1.
BY_HAND = [
    (1.0, 2.0, -2.0),
    (1.5, 2.0, -2.56),  # clipped high: -2 x 1.28
    (0.5, 2.0, -1.0),  # falling with A > 0 is never clipped
    (1.5, -2.0, 3.0),  # rising with A < 0 is not clipped before the dual clip
    (0.5, -2.0, 1.6),  # clipped low: 2 x 0.8
    (4.0, -2.0, 6.0),  # dual clip: 2 x 3, instead of 8
    (4.0, 2.0, -2.56),  # the dual clip does not touch A > 0
]


def by_hand(dtype=torch.float64):
    ratio, advantage, loss = (torch.tensor([column], dtype=dtype) for column in zip(*BY_HAND, strict=True))
    return ratio.log(), torch.zeros_like(ratio), advantage, torch.ones_like(ratio), loss


def batch(seed=0, rows=3, width=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    draw = [torch.randn(rows, width, generator=generator, dtype=dtype) * 0.5 for _ in range(4)]
    mask = torch.arange(width) < torch.tensor([[width], [2], [1]])[:rows]
    return *draw, mask


def test_policy_loss_equals_golden_values(golden, dtype, matches):
    inputs = golden["policy_loss"]["inputs"]
    names = ("logprobs", "proximal", "behaviour", "advantages", "mask")
    tensors = [torch.tensor(inputs[name], dtype=dtype) for name in names]
    for case in golden["policy_loss"]["cases"]:
        matches(policy_loss(*tensors, **case["params"]), case["loss"])


def test_token_losses_equal_the_cases_worked_by_hand():
    logprobs, proximal, advantages, mask, expected = by_hand()
    loss, metrics = token_losses(logprobs, proximal, proximal, advantages, mask)
    torch.testing.assert_close(loss, expected)
    counts = {name: metrics[name].item() for name in metrics if name.endswith("count")}
    assert counts == {"clip_low_count": 1, "clip_high_count": 2, "dual_clip_count": 1, "is_capped_count": 0}
    assert metrics["num_tokens"].item() == 7
    assert metrics["ratio_sum"].item() == pytest.approx(13)
    assert metrics["is_weight_sum"].item() == 7
    expected_kl = sum(ratio - 1 - LOG(ratio) for ratio, _, _ in BY_HAND)
    assert metrics["policy_kl_sum"].item() == pytest.approx(expected_kl)
    assert metrics["mismatch_kl_sum"].item() == 0
    total = policy_loss(logprobs, proximal, proximal, advantages, mask)
    assert total.item() == pytest.approx(expected.mean().item())


def test_gradient_stops_exactly_where_a_clip_acts():
    logprobs, proximal, advantages, mask, _ = by_hand()
    logprobs.requires_grad_()
    policy_loss(logprobs, proximal, proximal, advantages, mask, normalizer=1.0).backward()
    # d(-A r) / d lp = -A r, or 0.
    expected = [-2.0, 0.0, -1.0, 3.0, 0.0, 0.0, 0.0]
    torch.testing.assert_close(logprobs.grad, torch.tensor([expected], dtype=torch.float64))


def test_without_dual_clip_a_negative_advantage_is_unbounded():
    logprobs, proximal, advantages, mask, expected = by_hand()
    loss, metrics = token_losses(logprobs, proximal, proximal, advantages, mask, dual_clip=None)
    expected[0, 5] = 8.0
    torch.testing.assert_close(loss, expected)
    assert metrics["dual_clip_count"].item() == 0


def test_importance_weight_multiplies_after_all_clips():
    logprobs, proximal, advantages, mask, expected = by_hand()
    behaviour = proximal - LOG(1.5)
    loss, metrics = token_losses(logprobs, proximal, behaviour, advantages, mask)
    torch.testing.assert_close(loss, expected * 1.5)
    assert metrics["is_weight_sum"].item() == pytest.approx(10.5)
    assert metrics["mismatch_kl_sum"].item() == pytest.approx(7 * (0.5 - LOG(1.5)))
    loss, metrics = token_losses(logprobs, proximal, proximal - LOG(6), advantages, mask)
    torch.testing.assert_close(loss, expected * 2)
    assert metrics["is_capped_count"].item() == 7
    loss, _ = token_losses(logprobs, proximal, proximal - LOG(6), advantages, mask, is_mode="icepop")
    assert (loss == 0).all()
    loss, _ = token_losses(
        logprobs, proximal, proximal - LOG(6), advantages, mask, is_mode="icepop", is_bounds=(0.5, 7)
    )
    torch.testing.assert_close(loss, expected * 6)


def test_no_cap_means_no_importance_weight():
    logprobs, proximal, advantages, mask, expected = by_hand()
    got = policy_loss(logprobs, proximal, proximal - LOG(6), advantages, mask, is_cap=None)
    torch.testing.assert_close(got, expected.mean())


def test_gradient_at_ratio_one_is_minus_the_weighted_advantage_over_the_count():
    _, proximal, behaviour, advantages, mask = batch()
    logprobs = proximal.clone().requires_grad_()
    proximal.requires_grad_()
    behaviour.requires_grad_()
    advantages.requires_grad_()
    policy_loss(logprobs, proximal, behaviour, advantages, mask).backward()
    weights = (proximal - behaviour).exp().clamp(max=2.0).detach()
    expected = torch.where(mask, -advantages.detach() * weights / mask.sum(), 0.0)
    torch.testing.assert_close(logprobs.grad, expected)
    assert proximal.grad is behaviour.grad is advantages.grad is None


@pytest.mark.parametrize("garbage", [math.nan, math.inf, -math.inf, 1e30])
def test_garbage_in_padding_reaches_no_value_and_no_gradient(garbage):
    *clean, mask = batch()
    clean = [torch.where(mask, x, 0.0) for x in clean]
    dirty = [torch.where(mask, x, garbage) for x in clean]

    def all_losses(tensors):
        logprobs, proximal, behaviour, advantages = tensors
        loss_BT, metrics = token_losses(logprobs, proximal, behaviour, advantages, mask)
        return [
            aggregate(torch.where(mask, loss_BT, garbage), mask),
            aggregate(loss_BT, mask, "sequence_mean"),
            policy_loss(logprobs, proximal, behaviour, advantages, mask),
            papo_terms(logprobs, proximal, mask, gamma=0.1, eta_masked=0.2, eta=0.3),
            reference_kl(logprobs, behaviour, mask),
            *metrics.values(),
        ]

    leaves = [[x.clone().requires_grad_() for x in tensors] for tensors in (clean, dirty)]
    values = [all_losses(tensors) for tensors in leaves]
    torch.testing.assert_close(values[0], values[1])
    for group in values:
        torch.stack(group[:5]).sum().backward()
    for good, bad in zip(*leaves, strict=True):
        torch.testing.assert_close(good.grad, bad.grad)
    assert leaves[1][0].grad is not None
    assert (leaves[1][0].grad[~mask] == 0).all()
    assert (leaves[1][0].grad[mask] != 0).any()


def test_micro_batches_with_the_step_normalizer_sum_to_the_whole():
    logprobs, proximal, behaviour, advantages, mask = batch()
    inputs = (logprobs, proximal, behaviour, advantages)
    weights = {"gamma": 0.1, "eta_masked": 0.2, "eta": 0.3}
    whole_loss, whole_metrics = token_losses(*inputs, mask)

    def parts(function, normalizer):
        return sum(function([x[i : i + 1] for x in inputs], mask[i : i + 1], normalizer) for i in range(3))

    for function, count in [
        (lambda x, m, n: policy_loss(*x, m, normalizer=n), mask.sum()),
        (lambda x, m, n: policy_loss(*x, m, normalizer=n), float(mask.sum())),
        (lambda x, m, n: papo_terms(x[0], x[1], m, **weights, normalizer=n), mask.sum()),
        (lambda x, m, n: reference_kl(x[0], x[1], m, normalizer=n), mask.sum()),
        (lambda x, m, n: aggregate(token_losses(*x, m)[0], m, "sequence_mean", n), 3),
    ]:
        torch.testing.assert_close(parts(function, count), function(inputs, mask, None))
    for name, value in whole_metrics.items():
        split = parts(lambda x, m, _, name=name: token_losses(*x, m)[1][name], None)
        torch.testing.assert_close(split, value)
    assert aggregate(whole_loss, mask) != aggregate(whole_loss, mask, "sequence_mean")


def test_sequence_mean_weighs_sequences_equally_and_skips_empty_ones():
    loss = torch.tensor([[1.0, 2.0, 3.0], [10.0, math.nan, math.nan], [math.nan] * 3])
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0]])
    assert aggregate(loss, mask, "sequence_mean").item() == 6.0
    assert aggregate(loss, mask, "sequence_mean", normalizer=4).item() == 3.0
    assert aggregate(loss, mask).item() == 4.0


@pytest.mark.parametrize("mode", ["token_mean", "sequence_mean"])
def test_a_batch_without_tokens_gives_zero_with_a_zero_gradient(mode):
    logprobs = torch.full((2, 3), math.nan, requires_grad=True)
    ones = torch.ones(2, 3)
    loss_BT, _ = token_losses(logprobs, ones, ones, ones, ones * 0)
    loss = aggregate(loss_BT, ones * 0, mode)
    loss.backward()
    assert loss.item() == 0
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == torch.zeros(2, 3).tolist()


def test_extreme_log_ratios_give_no_nan():
    logprobs = torch.tensor([[400.0, -400.0, 400.0, 400.0]], requires_grad=True)
    zeros, ones = torch.zeros(1, 4), torch.ones(1, 4)
    loss = policy_loss(logprobs, zeros, zeros, torch.tensor([[1.0, 1.0, 0.0, -1.0]]), ones)
    loss.backward()
    assert loss.item() == pytest.approx((-1.28 - math.exp(-20) + 0 + 3) / 4)
    assert logprobs.grad is not None
    assert logprobs.grad.isfinite().all()


def test_papo_terms_equal_golden_values(golden, dtype, matches):
    case = golden["papo"]
    tensors = [
        torch.tensor(case["inputs"][name], dtype=dtype) for name in ("logprobs", "masked_logprobs", "mask")
    ]
    matches(papo_terms(*tensors, **case["params"]), case["terms"])


def test_papo_pushes_the_masked_policy_away_and_both_entropies_down():
    current = torch.tensor([[-1.0]], dtype=torch.float64, requires_grad=True)
    masked = torch.tensor([[-2.0]], dtype=torch.float64, requires_grad=True)
    papo_terms(current, masked, torch.ones(1, 1), gamma=0.5, eta_masked=0.1, eta=0.2).backward()
    # k3 with d = masked - current = -1: its slope in d is e^-1 - 1.
    slope = math.exp(-1) - 1
    assert masked.grad.item() == pytest.approx(-0.5 * slope - 0.1)
    assert current.grad.item() == pytest.approx(0.5 * slope - 0.2)


def test_reference_kl_pulls_back_to_the_reference_only_through_the_policy():
    current = torch.tensor([[LOG(0.5), 0.0]], dtype=torch.float64, requires_grad=True)
    reference = torch.tensor([[0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    kl = reference_kl(current, reference, torch.ones(1, 2))
    assert kl.item() == pytest.approx((1 - LOG(2)) / 2)
    kl.backward()
    torch.testing.assert_close(current.grad, torch.tensor([[-0.5, 0.0]], dtype=torch.float64))
    assert reference.grad is None


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"clip_low": 1.5}, r"clip_low must be in \[0, 1\], got 1.5"),
        ({"clip_high": -0.1}, "clip_high must not be negative"),
        ({"dual_clip": 1.0}, "dual_clip must be above 1, or None, got 1.0"),
        ({"is_cap": -1.0}, "is_cap must be positive"),
        ({"normalizer": 0}, "normalizer must be positive, got 0"),
    ],
)
def test_bad_options_are_named(bad, message):
    with pytest.raises(ValueError, match=message):
        policy_loss(*[torch.ones(1, 2)] * 5, **bad)


def test_bad_shapes_and_modes_are_named():
    ones = torch.ones(1, 2)
    with pytest.raises(
        ValueError, match=r"advantages_BT must have the shape of logprobs_BT, \[1, 2\], got \[1\]"
    ):
        policy_loss(ones, ones, ones, torch.ones(1), ones)
    with pytest.raises(ValueError, match="masked_logprobs_BT must have the shape"):
        papo_terms(ones, ones[:0], ones, gamma=0, eta_masked=0, eta=0)
    with pytest.raises(ValueError, match="ref_logprobs_BT must have the shape"):
        reference_kl(ones, ones[:0], ones)
    with pytest.raises(ValueError, match=r"mode must be one of .* got 'mean'"):
        aggregate(ones, ones, "mean")  # type: ignore[arg-type]
