import math

import pytest
import torch

from pgpo_async.algorithms.losses import policy_loss
from pgpo_async.algorithms.off_policy import importance_weights, interpolated_proximal, mismatch_kl

# Ratios proximal / behaviour of 0.4, 0.5, 1, 2, 3, 5, 6; then padding.
RATIOS = [0.4, 0.5, 1.0, 2.0, 3.0, 5.0, 6.0]
PROXIMAL = torch.tensor([[*[math.log(r) for r in RATIOS], math.nan, math.inf]], dtype=torch.float64)
BEHAVIOUR = torch.tensor([[0.0] * 7 + [math.inf, math.inf]], dtype=torch.float64)
MASK = torch.tensor([[1] * 7 + [0] * 2])


@pytest.mark.parametrize(
    ("options", "weights", "capped"),
    [
        ({}, [0.4, 0.5, 1, 2, 2, 2, 2], [0, 0, 0, 0, 1, 1, 1]),
        ({"cap": 4.0}, [0.4, 0.5, 1, 2, 3, 4, 4], [0, 0, 0, 0, 0, 1, 1]),
        ({"mode": "icepop", "bounds": (0.45, 5.5)}, [0, 0.5, 1, 2, 3, 5, 0], [1, 0, 0, 0, 0, 0, 1]),
        ({"mode": "icepop"}, [0, None, 1, 2, 3, None, 0], [1, None, 0, 0, 0, None, 1]),
        ({"mode": "off"}, [1, 1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_each_mode_limits_the_ratio_in_its_way(options, weights, capped):
    got = importance_weights(PROXIMAL, BEHAVIOUR, MASK, **options)
    assert got.weights_BT[0, 7:].tolist() == [0, 0]
    assert got.capped_BT[0, 7:].tolist() == [False, False]
    # None: exactly on a bound, which rounding decides.
    for i, (weight, cut) in enumerate(zip(weights, capped, strict=True)):
        if weight is not None:
            # 2.0 is on the default cap: its weight is sure, its flag is rounding's.
            assert got.weights_BT[0, i].item() == pytest.approx(weight)
            assert RATIOS[i] == 2.0 or bool(got.capped_BT[0, i]) == bool(cut)


def test_icepop_keeps_its_bounds_themselves():
    ones = torch.ones(1, 1)
    got = importance_weights(ones * 0, ones * 0, ones, mode="icepop", bounds=(0.5, 1.0))
    assert got.weights_BT.item() == 1.0


def test_huge_ratios_stay_finite():
    big = torch.tensor([[500.0, -500.0]])
    got = importance_weights(big, torch.zeros_like(big), torch.ones_like(big), cap=1e12)
    torch.testing.assert_close(got.weights_BT, torch.tensor([[math.exp(20), math.exp(-20)]]))


def test_importance_weights_carry_no_gradient():
    logprobs = torch.zeros(1, 2, requires_grad=True)
    for mode in ("truncate", "icepop", "off"):
        got = importance_weights(logprobs, logprobs - 1, torch.ones(1, 2), mode=mode)
        assert not got.weights_BT.requires_grad


def test_mismatch_is_the_divergence_from_behaviour_to_proximal():
    # One token at a ratio proximal / behaviour of 2: k3 = 2 - 1 - log 2; one equal; padding in between.
    proximal = torch.tensor([[math.log(2), math.nan, 0.0]], dtype=torch.float64)
    behaviour = torch.tensor([[0.0, math.inf, 0.0]], dtype=torch.float64)
    mask = torch.tensor([[True, False, True]])
    assert mismatch_kl(behaviour, proximal, mask).item() == pytest.approx((1 - math.log(2)) / 2)
    assert mismatch_kl(behaviour, proximal, mask & False).item() == 0


def test_bad_options_are_named():
    ones = torch.ones(1, 1)
    with pytest.raises(ValueError, match=r"is_mode must be one of .* got 'clip'"):
        importance_weights(ones, ones, ones, mode="clip")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is_cap must be positive, got 0"):
        importance_weights(ones, ones, ones, cap=0)
    with pytest.raises(ValueError, match=r"is_bounds must be rising .* got \(5, 0.5\)"):
        importance_weights(ones, ones, ones, mode="icepop", bounds=(5, 0.5))
    with pytest.raises(ValueError, match="mask_BT must have the shape of proximal_logprobs_BT"):
        importance_weights(ones, ones, ones[:, :0])


def test_the_interpolated_proximal_moves_from_behaviour_to_current_with_the_lag():
    # alpha = lag / (lag + 1): 0, 1/2, 3/4, 1/3 (half a step) of the way from -2 to -1; then padding.
    current = torch.tensor([[-1.0, -1.0, -1.0, -1.0, math.nan]], dtype=torch.float64)
    behaviour = torch.tensor([[-2.0, -2.0, -2.0, -2.0, math.inf]], dtype=torch.float64)
    lag = torch.tensor([[0, 1, 3, 0.5, 0]])
    got = interpolated_proximal(current, behaviour, lag)[0, :4]
    torch.testing.assert_close(got, torch.tensor([-2, -1.5, -1.25, -2 + 1 / 3], dtype=torch.float64))


def test_at_lag_zero_the_interpolated_loss_is_plain_ppo_against_the_sampler():
    generator = torch.Generator().manual_seed(0)
    start, behaviour, advantages = torch.randn(3, 2, 4, generator=generator, dtype=torch.float64) * 0.3
    current, mask = start.clone().requires_grad_(), torch.ones(2, 4)
    proximal = interpolated_proximal(current, behaviour, torch.zeros(2, 4, dtype=torch.long))
    assert torch.equal(proximal, behaviour)
    assert not proximal.requires_grad
    loss = policy_loss(current, proximal, behaviour, advantages, mask)
    plain = policy_loss(current, behaviour, behaviour, advantages, mask, is_cap=None)
    torch.testing.assert_close(loss, plain)


def test_a_negative_lag_and_other_shapes_are_named():
    ones = torch.ones(1, 2)
    with pytest.raises(ValueError, match="lag_BT must not be negative, got -2"):
        interpolated_proximal(ones, ones, torch.tensor([[1, -2]]))
    with pytest.raises(ValueError, match=r"lag_BT must have the shape of logprobs_BT, \[1, 2\], got \[1\]"):
        interpolated_proximal(ones, ones, torch.ones(1))
