import math
import pickle

import pytest
import torch
from torch import Tensor

from pgpo_async.algorithms.shaping import (
    Signals,
    make_shaper,
    pgpo_weights,
    vppo_token_mask,
    vppo_trajectory_factors,
)


def signals(dependency: Tensor | None, mask: Tensor, has_image: Tensor) -> Signals:
    return Signals(mask_BT=mask, has_image_B=has_image, dependency_BT=dependency)


def test_pgpo_shaper_leaves_responses_without_an_image_alone():
    dependency = torch.tensor([[0.0, 1.0, 2.0], [math.nan, 7.0, 0.0], [0.5, 0.5, 9.0]])
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 1, 0]])
    shaped = make_shaper("pgpo", tau=0.3).shape(signals(dependency, mask, torch.tensor([True, False, True])))
    torch.testing.assert_close(shaped.weights_BT[0], pgpo_weights(dependency[:1], mask[:1], tau=0.3)[0])
    assert shaped.weights_BT[1:].tolist() == [[1, 1, 0], [1, 1, 0]]


def test_pgpo_shaper_reports_what_it_did():
    # Rows: I = (0, 1), weights (0, 2); flat, weights 1; no image, weights 1.
    dependency = torch.tensor([[0.0, 1.0], [3.0, 3.0], [8.0, 8.0]], dtype=torch.float64)
    shaped = make_shaper("pgpo").shape(
        signals(dependency, torch.ones(3, 2), torch.tensor([True, True, False]))
    )
    got = {name: value.item() for name, value in shaped.metrics.items()}
    assert got == pytest.approx(
        {
            "num_tokens": 6,
            "weight_mean": 1.0,
            "weight_max": 2.0,
            "num_image_tokens": 4,
            "dependency_mean": 7 / 4,
            "dependency_log_mean": (math.log(2) + 2 * math.log(4)) / 4,
            "boosted_share": 1 / 4,
        }
    )
    # With tau 0 every token is at the threshold, but a flat response is not boosted.
    shaped = make_shaper("pgpo", tau=0.0).shape(
        signals(dependency, torch.ones(3, 2), torch.tensor([True, True, False]))
    )
    assert shaped.metrics["boosted_share"].item() == 2 / 4


def test_pgpo_metrics_of_nothing_are_finite():
    for shape in ((2, 3), (0, 3), (2, 0)):
        shaped = make_shaper("pgpo").shape(
            signals(torch.zeros(shape), torch.zeros(shape), torch.ones(shape[0]).bool())
        )
        assert all(value.item() == 0 for value in shaped.metrics.values())


def test_no_shaping_weighs_every_response_token_one_and_needs_no_pass():
    shaper = make_shaper("none")
    mask = torch.tensor([[1, 1, 0], [0, 0, 0]])
    assert shaper.shape(signals(None, mask, torch.tensor([True, True]))).weights_BT.tolist() == mask.tolist()
    assert shaper.needs == frozenset()
    assert make_shaper("pgpo").needs == {"blind"}
    assert shaper.scope == make_shaper("pgpo").scope == "response"


def test_pgpo_shaper_refuses_missing_dependency_and_wrong_image_flags():
    with pytest.raises(ValueError, match="dependency_BT must be a tensor for pgpo, got None"):
        make_shaper("pgpo").shape(signals(None, torch.ones(1, 2), torch.tensor([True])))
    with pytest.raises(ValueError, match=r"has_image_B must be of shape \[1\], got \[2\]"):
        signals(torch.ones(1, 2), torch.ones(1, 2), torch.tensor([True, True]))


def test_shapers_are_values_that_survive_pickling():
    shaper = make_shaper("pgpo", beta=3.0, max_weight=5.0)
    assert pickle.loads(pickle.dumps(shaper)) == shaper != make_shaper("pgpo")


def test_unknown_names_and_parameters_get_a_suggestion():
    with pytest.raises(ValueError, match="shaper must be one of none, pgpo, got 'pggo'; did you mean 'pgpo'"):
        make_shaper("pggo")
    with pytest.raises(ValueError, match=r"got 'max_wieght'; did you mean 'max_weight'"):
        make_shaper("pgpo", max_wieght=3.0)
    with pytest.raises(ValueError, match=r"parameter of shaper 'none' must be one of .* got 'tau'"):
        make_shaper("none", tau=0.4)
    with pytest.raises(ValueError, match="tau must be in"):
        make_shaper("pgpo", tau=4.0)


def test_vppo_equals_golden_values(golden, dtype, matches):
    dependency = torch.tensor(golden["visual_dependency"]["dependency"], dtype=dtype)
    mask = torch.tensor(golden["visual_dependency"]["mask"], dtype=dtype)
    matches(vppo_token_mask(dependency, mask), golden["vppo"]["token_mask"])
    matches(vppo_trajectory_factors(dependency, mask), golden["vppo"]["trajectory_factors"])


def test_vppo_takes_the_earlier_of_equal_tokens_and_never_padding():
    dependency = torch.tensor([[1.0, 2.0, 1.0, 1.0, 1.0, 99.0, math.nan], [math.nan] * 7])
    mask = torch.tensor([[1, 1, 1, 1, 1, 0, 0], [0] * 7])
    assert vppo_token_mask(dependency, mask).tolist() == [[1, 1, 0, 0, 0, 0, 0], [0] * 7]
    assert vppo_token_mask(dependency, mask, top_fraction=0.41)[0].tolist() == [1, 1, 1, 0, 0, 0, 0]
    assert vppo_token_mask(dependency, mask, top_fraction=1.0).tolist() == mask.tolist()


def test_vppo_factors_average_one_and_skip_empty_responses():
    # Means 1, 2, 4: n = 0, 1/3, 1, mean 4/9, so factors 0.9 + n x 0.225.
    dependency = torch.tensor([[1.0, 1.0], [2.0, math.nan], [math.inf, math.nan], [3.0, 5.0]])
    mask = torch.tensor([[1, 1], [1, 0], [0, 0], [1, 1]])
    got = vppo_trajectory_factors(dependency, mask)
    torch.testing.assert_close(got, torch.tensor([0.9, 0.975, 1.0, 1.125]))


def test_vppo_factors_are_one_without_a_range():
    ones = torch.ones(3, 2)
    assert vppo_trajectory_factors(ones * 0.4, ones).tolist() == [1, 1, 1]
    assert vppo_trajectory_factors(torch.tensor([[0.4], [0.4 + 9e-7]]), torch.ones(2, 1)).tolist() == [1, 1]
    assert vppo_trajectory_factors(ones * math.nan, ones * 0).tolist() == [1, 1, 1]
    assert vppo_trajectory_factors(ones[:0], ones[:0]).shape == (0,)


def test_vppo_parameters_out_of_range_are_named():
    ones = torch.ones(1, 2)
    with pytest.raises(ValueError, match=r"top_fraction must be in \(0, 1\], got 0"):
        vppo_token_mask(ones, ones, top_fraction=0)
    with pytest.raises(ValueError, match=r"floor must be in \[0, 1\], got 1.5"):
        vppo_trajectory_factors(ones, ones, floor=1.5)
