import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pgpo_async.algorithms.shaping import pgpo_weights

# No deadline: the machine is shared, and the first torch call of a process takes its time.
quick = settings(deadline=None, max_examples=60)
# Lists of S_t per response; 0 and repeats are common, as in real data (clipping, tokens that ignore images).
dependency = st.one_of(st.sampled_from([0.0, 0.1, 10.0]), st.floats(0, 10))
responses = st.lists(st.lists(dependency, max_size=9), min_size=1, max_size=4)
params = st.fixed_dictionaries(
    {
        "tau": st.sampled_from([0.0, 0.2, 0.4, 1.0]),
        "beta": st.sampled_from([0.0, 2.0]),
        "threshold_mode": st.sampled_from(["absolute", "quantile"]),
        "low_weight_floor": st.sampled_from([0.0, 0.1]),
        "min_spread": st.sampled_from([0.0, 1e-3]),
        "max_weight": st.sampled_from([None, 1.0, 1.3, 4.0]),
    }
)


def padded(rows, *, extra=0, fill=0.0):
    width = max(map(len, rows)) + extra
    values = torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows], dtype=torch.float64)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return values.reshape(len(rows), width), mask.reshape(len(rows), width)


def test_weights_equal_golden_values(golden, dtype, matches):
    dependency_BT = torch.tensor(golden["visual_dependency"]["dependency"], dtype=dtype)
    mask = torch.tensor(golden["visual_dependency"]["mask"], dtype=dtype)
    for case in golden["pgpo_weights"]:
        matches(pgpo_weights(dependency_BT, mask, **case["params"]), case["weights"])
    flat = torch.tensor(golden["pgpo_flat"]["dependency"], dtype=dtype)
    matches(pgpo_weights(flat, torch.ones_like(flat)), golden["pgpo_flat"]["weights"])


@quick
@given(responses, params)
def test_each_response_keeps_the_mass_of_its_tokens(rows, chosen):
    values, mask = padded(rows)
    weights = pgpo_weights(values, mask, **chosen)
    torch.testing.assert_close(weights.sum(1), mask.sum(1).double(), rtol=1e-9, atol=1e-9)
    assert (weights >= 0).all()
    if chosen["max_weight"] is not None:
        assert weights.numel() == 0 or weights.max() <= chosen["max_weight"] + 1e-9


@quick
@given(st.lists(dependency, min_size=1, max_size=12), params, st.booleans())
def test_a_more_dependent_token_never_weighs_less(row, chosen, normalized):
    values = torch.tensor([sorted(row)], dtype=torch.float64)
    weights = pgpo_weights(values, torch.ones_like(values), **chosen, mass_normalization=normalized)
    assert (weights.diff(dim=1) >= -1e-9).all()


@quick
@given(responses, params, st.sampled_from([float("nan"), float("inf"), -float("inf"), -5.0]), st.booleans())
def test_rows_alone_and_unpadded_equal_the_batch_padded_with_garbage(rows, chosen, garbage, normalized):
    values, mask = padded(rows, extra=2, fill=garbage)
    batch = pgpo_weights(values, mask, **chosen, mass_normalization=normalized)
    assert (batch[mask == 0] == 0).all()
    for i, row in enumerate(rows):
        alone = torch.tensor([row], dtype=torch.float64).reshape(1, len(row))
        got = pgpo_weights(alone, torch.ones_like(alone), **chosen, mass_normalization=normalized)
        torch.testing.assert_close(batch[i : i + 1, : len(row)], got, rtol=1e-9, atol=1e-9)


@quick
@given(st.lists(dependency, min_size=1, max_size=9, unique=True), params, st.randoms(use_true_random=False))
def test_weights_follow_their_tokens_under_permutation_and_padding_on_any_side(row, chosen, random):
    order = list(range(len(row) + 3))
    random.shuffle(order)
    values = torch.tensor([[*row, *[float("nan")] * 3]], dtype=torch.float64)
    mask = torch.tensor([[True] * len(row) + [False] * 3])
    straight = pgpo_weights(values, mask, **chosen)
    shuffled = pgpo_weights(values[:, order], mask[:, order], **chosen)
    torch.testing.assert_close(shuffled, straight[:, order], rtol=1e-9, atol=1e-9)


def test_the_cap_hands_its_excess_on_in_proportion_worked_by_hand():
    # I = (0, 0.25, 0.5, 1) gives with tau 1: w = I, normalized x 4 / 1.75 = (0, 0.571, 1.143, 2.286). A cap
    # of 2 leaves mass 2 for weights in proportion 1 : 2.
    values = torch.tensor([[0.0, 0.25, 0.5, 1.0]], dtype=torch.float64).expm1()
    weights = pgpo_weights(values, torch.ones_like(values), tau=1.0, max_weight=2.0)
    torch.testing.assert_close(weights, torch.tensor([[0, 2 / 3, 4 / 3, 2.0]], dtype=torch.float64))
    # At 1.25 the excess lifts the second over the cap as well; the third takes all that is left.
    weights = pgpo_weights(values, torch.ones_like(values), tau=1.0, max_weight=1.25)
    torch.testing.assert_close(weights, torch.tensor([[0.25, 1.25, 1.25, 1.25]], dtype=torch.float64))


def test_one_dependent_token_takes_all_mass_unless_capped():
    values = torch.zeros(1, 200)
    values[0, 7] = 1.0
    free = pgpo_weights(values, torch.ones_like(values))
    assert free[0, 7].item() == pytest.approx(200)
    capped = pgpo_weights(values, torch.ones_like(values), max_weight=10.0)
    assert capped[0, 7].item() == pytest.approx(10)
    # All others weigh 0, so there is no proportion: they share evenly.
    torch.testing.assert_close(capped[0, :7], torch.full((7,), 190 / 199))


def test_tau_one_only_suppresses_and_tau_zero_only_boosts():
    values = torch.tensor([[0.0, 0.3, 1.0, 2.0]], dtype=torch.float64)
    ones = torch.ones_like(values)
    suppressed = pgpo_weights(values, ones, tau=1.0, mass_normalization=False)
    assert suppressed.max() <= 1
    assert suppressed[0, 0] == 0
    boosted = pgpo_weights(values, ones, tau=0.0, mass_normalization=False)
    assert boosted.min() == 1
    assert boosted[0, 3].item() == pytest.approx(3)


def test_without_normalization_the_cap_only_cuts():
    values = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    weights = pgpo_weights(values, torch.ones_like(values), mass_normalization=False, max_weight=2.0)
    torch.testing.assert_close(weights, torch.tensor([[0.0, 2.0]], dtype=torch.float64))


def test_quantile_thresholds_at_the_ascending_index_floor_t_tau():
    # I = (0, 0.2, 0.6, 1), index floor(4 x 0.5) = 2: threshold 0.6.
    values = torch.tensor([[1.0, 0.6, 0.2, 0.0, 9.9]], dtype=torch.float64).expm1()
    mask = torch.tensor([[1, 1, 1, 1, 0]])
    weights = pgpo_weights(values, mask, tau=0.5, threshold_mode="quantile", mass_normalization=False)
    torch.testing.assert_close(weights, torch.tensor([[3.0, 1, 1 / 3, 0, 0]], dtype=torch.float64))


def test_constant_single_and_empty_responses_weigh_one_at_any_min_spread():
    rows = [[0.7, 0.7, 0.7], [5.0, 0.0, 0.0], [1.0, 2.0, 3.0], [0.0, 5e-324, 0.0]]
    values = torch.tensor(rows, dtype=torch.float64)
    mask = torch.tensor([[1, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 1]])
    for min_spread in (0.0, 1e-3):
        for normalized in (True, False):
            got = pgpo_weights(values, mask, min_spread=min_spread, mass_normalization=normalized)
            assert got.tolist() == mask.tolist()


def test_the_spread_below_which_a_response_is_flat_is_that_of_the_logarithm():
    values = torch.tensor([[0.0, 0.0009], [0.0, 0.0011], [9.0, 9.009]], dtype=torch.float64)
    weights = pgpo_weights(values, torch.ones_like(values))
    assert weights[0].tolist() == weights[2].tolist() == [1.0, 1.0]
    assert weights[1, 1].item() == pytest.approx(2)


def test_weights_carry_no_gradient_and_empty_batches_pass():
    values = torch.rand(2, 3, requires_grad=True)
    assert not pgpo_weights(values, torch.ones(2, 3)).requires_grad
    assert pgpo_weights(torch.zeros(0, 3), torch.zeros(0, 3)).shape == (0, 3)
    assert pgpo_weights(torch.zeros(2, 0), torch.zeros(2, 0)).shape == (2, 0)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"tau": 1.1}, r"tau must be in \[0, 1\], got 1.1"),
        ({"beta": -1.0}, "beta must not be negative, got -1.0"),
        ({"eps": 0.0}, "eps must be positive"),
        ({"threshold_mode": "mean"}, "threshold_mode must be one of .* got 'mean'"),
        ({"low_weight_floor": 2.0}, r"low_weight_floor must be in \[0, 1\]"),
        ({"min_spread": float("nan")}, "min_spread must not be negative"),
        ({"max_weight": 0.5}, "max_weight must be at least 1"),
    ],
)
def test_parameters_out_of_range_are_named(bad, message):
    with pytest.raises(ValueError, match=message):
        pgpo_weights(torch.zeros(1, 2), torch.ones(1, 2), **bad)


def test_impossible_dependency_at_response_tokens_is_refused():
    for value in (float("nan"), float("inf"), -0.1):
        with pytest.raises(ValueError, match="dependency_BT must be finite and not negative"):
            pgpo_weights(torch.tensor([[1.0, value]]), torch.ones(1, 2))
    with pytest.raises(ValueError, match="mask_BT must have the shape of dependency_BT"):
        pgpo_weights(torch.zeros(1, 2), torch.ones(1, 3))
