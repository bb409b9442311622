import math
import pickle

import pytest
import torch
from torch import Tensor

from pgpo_async.algorithms.shaping import (
    SHAPERS,
    ImageMasking,
    LossTerms,
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


def test_shapers_declare_what_scorer_and_learner_must_do():
    declared = {
        name: (set(shaper.needs), shaper.scope, shaper.entropy_top_p)
        for name, shaper in ((name, make_shaper(name)) for name in SHAPERS)
    }
    assert declared == {
        "none": (set(), "response", 1.0),
        "pgpo": ({"blind"}, "response", 1.0),
        "vppo": ({"masked_image"}, "batch", 1.0),
        "papo": (set(), "response", 1.0),
        "tor": ({"no_image", "entropy"}, "batch", 0.95),
        "pepo": ({"hidden_similarity", "entropy"}, "response", 1.0),
    }


def test_only_vppo_and_papo_mask_images_and_add_to_the_loss():
    for name in set(SHAPERS) - {"vppo", "papo"}:
        shaper = make_shaper(name)
        assert shaper.masking is None
        assert shaper.loss_terms == LossTerms()
    vppo, papo = make_shaper("vppo", mask_cell_px=28), make_shaper("papo", gamma=0.02)
    assert vppo.masking == ImageMasking(probability=0.5, cell_px=28, resized=True, per_response=True)
    assert vppo.loss_terms == LossTerms(entropy=0.06)
    assert not vppo.loss_terms.needs_masked_pass
    assert papo.masking == ImageMasking(probability=0.6, cell_px=14, resized=False, per_response=False)
    assert papo.loss_terms == LossTerms(perception=0.02, masked_entropy=0.03, entropy=0.03)
    assert papo.loss_terms.needs_masked_pass


def test_shapers_are_values_that_survive_pickling():
    shaper = make_shaper("pgpo", beta=3.0, max_weight=5.0)
    assert pickle.loads(pickle.dumps(shaper)) == shaper != make_shaper("pgpo")
    for name in SHAPERS:
        assert pickle.loads(pickle.dumps(make_shaper(name))) == make_shaper(name)


def test_unknown_names_and_parameters_get_a_suggestion():
    with pytest.raises(
        ValueError,
        match="shaper must be one of none, papo, pepo, pgpo, tor, vppo, or 'module:Class', "
        "got 'pggo'; did you mean 'pgpo'",
    ):
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


def vppo_signals(dependency: Tensor, mask: Tensor, has_image: Tensor) -> Signals:
    return Signals(mask_BT=mask, has_image_B=has_image, masked_dependency_BT=dependency)


def test_vppo_shaper_multiplies_both_golden_values(golden, dtype, matches):
    dependency = torch.tensor(golden["visual_dependency"]["dependency"], dtype=dtype)
    mask = torch.tensor(golden["visual_dependency"]["mask"], dtype=dtype)
    shaped = make_shaper("vppo").shape(vppo_signals(dependency, mask, torch.ones(len(mask)).bool()))
    factors = golden["vppo"]["trajectory_factors"]
    kept = golden["vppo"]["token_mask"]
    matches(shaped.weights_BT, [[f * k for k in row] for f, row in zip(factors, kept, strict=True)])
    assert shaped.metrics["factor_min"].item() == pytest.approx(min(factors))
    assert shaped.metrics["factor_max"].item() == pytest.approx(max(factors))


def test_vppo_leaves_responses_without_an_image_alone_and_out_of_the_batchs_range():
    # With an image: means 1, 4, so n = 0, 1 of mean 1/2 and factors 0.9, 0.9 + 0.1 / (1/2) = 1.1. Of two
    # tokens ceil(0.8) = 1 is kept. Without: would be the largest mean.
    dependency = torch.tensor([[0.0, 2.0], [9.0, math.nan], [5.0, 3.0]], dtype=torch.float64)
    shaped = make_shaper("vppo").shape(
        vppo_signals(dependency, torch.ones(3, 2), torch.tensor([True, False, True]))
    )
    expected = torch.tensor([[0, 0.9], [1, 1], [1.1, 0]], dtype=torch.float64)
    torch.testing.assert_close(shaped.weights_BT, expected)
    got = {name: value.item() for name, value in shaped.metrics.items()}
    assert got == pytest.approx(
        {
            "num_tokens": 6,
            "weight_mean": 4 / 6,
            "weight_max": 1.1,
            "num_image_tokens": 4,
            "dependency_mean": 10 / 4,
            "dependency_log_mean": math.log(3 * 6 * 4) / 4,
            "kept_share": 2 / 4,
            "factor_min": 0.9,
            "factor_max": 1.1,
        }
    )


def test_vppo_weighs_the_whole_step_the_same_however_it_was_cut():
    generator = torch.Generator().manual_seed(0)
    dependency = torch.rand(6, 5, generator=generator, dtype=torch.float64) * 3
    mask = torch.arange(5) < torch.tensor([[5], [2], [4], [0], [1], [3]])
    has_image = torch.tensor([True, True, False, True, True, True])
    whole = make_shaper("vppo").shape(vppo_signals(dependency, mask, has_image)).weights_BT
    for parts in ([[4, 0], [5, 3, 2], [1]], [[5], [0, 1, 2, 3, 4]]):
        # Three ranks' rows, or two's, each rank's padded its own way, brought together for the step.
        rows = [row for part in parts for row in part]
        left = [i for i, part in enumerate(parts) for _ in part]
        wide, wide_mask = torch.full((6, 9), math.nan, dtype=torch.float64), torch.zeros(6, 9)
        for place, (row, start) in enumerate(zip(rows, left, strict=True)):
            wide[place, start : start + 5], wide_mask[place, start : start + 5] = dependency[row], mask[row]
        joined = make_shaper("vppo").shape(vppo_signals(wide, wide_mask, has_image[rows])).weights_BT
        for place, row in enumerate(rows):
            torch.testing.assert_close(joined[place][wide_mask[place] != 0], whole[row][mask[row]])
    # Not so where a part is all that is seen: the released code's per-device range.
    alone = make_shaper("vppo").shape(vppo_signals(dependency[:2], mask[:2], has_image[:2])).weights_BT
    assert not torch.allclose(alone, whole[:2])


def test_vppo_shaper_refuses_impossible_dependency():
    dependency = torch.tensor([[1.0, math.nan]])
    with pytest.raises(ValueError, match="masked_dependency_BT must be finite and not negative"):
        make_shaper("vppo").shape(vppo_signals(dependency, torch.ones(1, 2), torch.tensor([True])))


@pytest.mark.parametrize(
    ("name", "bad", "message"),
    [
        ("vppo", {"top_fraction": 0}, r"top_fraction must be in \(0, 1\], got 0"),
        ("vppo", {"floor": -0.1}, r"floor must be in \[0, 1\], got -0.1"),
        ("vppo", {"entropy_penalty": -1.0}, "entropy_penalty must not be negative, got -1.0"),
        ("vppo", {"mask_probability": 1.1}, r"mask_probability must be in \[0, 1\], got 1.1"),
        ("vppo", {"mask_cell_px": 0}, "mask_cell_px must be at least 1, got 0"),
        ("papo", {"gamma": -0.1}, "gamma must not be negative, got -0.1"),
        ("papo", {"eta_masked": float("nan")}, "eta_masked must not be negative, got nan"),
        ("papo", {"eta": -0.1}, "eta must not be negative, got -0.1"),
        ("papo", {"mask_probability": -0.1}, r"mask_probability must be in \[0, 1\], got -0.1"),
        ("papo", {"mask_cell_px": 0}, "mask_cell_px must be at least 1, got 0"),
    ],
)
def test_parameters_out_of_range_are_named(name, bad, message):
    with pytest.raises(ValueError, match=message):
        make_shaper(name, **bad)


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
