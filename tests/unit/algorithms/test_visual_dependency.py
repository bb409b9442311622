import math

import pytest
import torch

from pgpo_async.algorithms.divergence import k3
from pgpo_async.algorithms.visual_dependency import dependency_metrics, token_visual_dependency

GARBAGE = [float("nan"), float("inf"), -float("inf"), 1e30]


def test_dependency_equals_golden_values(golden, dtype, matches):
    case = golden["visual_dependency"]
    sighted, blind, mask = (
        torch.tensor(case[key], dtype=dtype) for key in ("sighted_logprobs", "blind_logprobs", "mask")
    )
    matches(token_visual_dependency(sighted, blind, mask), case["dependency"])


def test_k3_averages_to_the_exact_divergence_under_the_first_policy():
    p = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    q = torch.tensor([0.2, 0.2, 0.6], dtype=torch.float64)
    exact = (p * (p / q).log()).sum()
    torch.testing.assert_close((p * k3(p.log(), q.log())).sum(), exact)


def test_k3_clips_the_log_ratio_and_the_value():
    sampled, other = torch.tensor([[-30.0, 0.0, 0.0]]), torch.tensor([[0.0, -30.0, -5.0]])
    torch.testing.assert_close(k3(sampled, other), torch.tensor([[10.0, 10.0, math.exp(-5) + 4]]))
    torch.testing.assert_close(
        k3(sampled, other, log_ratio_clip=2.0, max_value=4.0),
        torch.tensor([[4.0, math.exp(-2) + 1, math.exp(-2) + 1]]),
    )


def test_k3_keeps_tiny_divergences_in_float32():
    log_ratio = torch.tensor([[1e-3]])
    torch.testing.assert_close(k3(torch.zeros(1, 1), log_ratio), log_ratio.square() / 2, rtol=1e-3, atol=0)


def test_k3_widens_half_precision_before_subtracting():
    assert (
        k3(torch.zeros(1, 1, dtype=torch.bfloat16), torch.ones(1, 1, dtype=torch.bfloat16)).dtype
        == torch.float32
    )


def test_padding_has_zero_dependency_whatever_it_holds():
    garbage = torch.tensor([GARBAGE])
    real = torch.tensor([[-1.0, -2.0]])
    sighted, blind = torch.cat([real, garbage], 1), torch.cat([real - 1, garbage.flip(1)], 1)
    mask = torch.tensor([[True, True, False, False, False, False]])
    got = token_visual_dependency(sighted, blind, mask)
    expected = math.exp(-1)
    torch.testing.assert_close(got, torch.tensor([[expected, expected, 0, 0, 0, 0]]))
    metrics = dependency_metrics(torch.cat([got[:, :2], garbage], 1), mask)
    torch.testing.assert_close(metrics["dependency_mean"], torch.tensor(expected))
    torch.testing.assert_close(metrics["dependency_log_mean"], torch.tensor(math.log1p(expected)))


def test_dependency_carries_no_gradient():
    sighted = torch.zeros(1, 2, requires_grad=True)
    assert not token_visual_dependency(sighted, sighted - 1, torch.ones(1, 2)).requires_grad


def test_wrong_shapes_and_bounds_are_named():
    flat, wide, narrow = torch.zeros(3), torch.zeros(2, 3), torch.zeros(2, 2)
    with pytest.raises(ValueError, match=r"sighted_logprobs_BT must be of shape \[B, T\], got \[3\]"):
        token_visual_dependency(flat, flat, flat)
    with pytest.raises(ValueError, match=r"mask_BT must have the shape of .*\[2, 3\], got \[2, 2\]"):
        token_visual_dependency(wide, wide, narrow)
    with pytest.raises(ValueError, match=r"max_value must be positive, got 0"):
        token_visual_dependency(wide, wide, wide, max_dependency=0)
    with pytest.raises(ValueError, match="log_ratio_clip must be positive"):
        k3(wide, wide, log_ratio_clip=-1)
