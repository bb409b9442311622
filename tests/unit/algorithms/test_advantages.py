import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pgpo_async.algorithms.advantages import group_advantages, has_signal


def test_advantages_equal_golden_values(golden, dtype, matches):
    for case in golden["advantages"]:
        rewards = torch.tensor(case["rewards"], dtype=dtype)
        got = group_advantages(rewards, torch.tensor(case["groups"]), normalize=case["normalize"])
        matches(got, case["advantages"])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=6), min_size=1, max_size=4),
    st.sampled_from(["std", "none", "loo"]),
    st.randoms(use_true_random=False),
)
def test_advantages_sum_to_zero_in_each_group_in_any_order(groups, normalize, random):
    pairs = [(reward, 7 * i - 3) for i, group in enumerate(groups) for reward in group]
    random.shuffle(pairs)
    rewards = torch.tensor([reward for reward, _ in pairs], dtype=torch.float64)
    ids = torch.tensor([group_id for _, group_id in pairs])
    got = group_advantages(rewards, ids, normalize=normalize)
    for i, group in enumerate(groups):
        mine = ids == 7 * i - 3
        assert abs(got[mine].sum().item()) < 1e-9
        alone = group_advantages(rewards[mine], ids[mine], normalize=normalize)
        torch.testing.assert_close(got[mine], alone)
        if len(set(group)) > 1 and max(group) - min(group) > 1e-9:
            assert got[mine].abs().max() > 0


def test_leave_one_out_compares_with_the_mean_of_the_others():
    got = group_advantages(torch.tensor([1.0, 0.0, 0.5]), torch.tensor([4, 4, 4]), normalize="loo")
    torch.testing.assert_close(got, torch.tensor([1 - 0.25, 0 - 0.75, 0.5 - 0.5]))


def test_equal_rewards_give_exactly_zero():
    # In float32 the mean of these is not 0.9, and dividing by eps alone would make that an advantage of 0.06.
    got = group_advantages(torch.full((5,), 0.9), torch.zeros(5, dtype=torch.long))
    assert got.tolist() == [0.0] * 5
    got = group_advantages(torch.full((3,), 0.1, dtype=torch.float64), torch.zeros(3, dtype=torch.long))
    assert got.tolist() == [0.0] * 3


def test_a_group_of_one_is_named_where_it_needs_others():
    rewards, ids = torch.tensor([1.0, 0.0, 1.0]), torch.tensor([5, 5, 9])
    for normalize in ("std", "loo"):
        with pytest.raises(ValueError, match=r"groups must hold at least 2 .* got 1 in \[9\]"):
            group_advantages(rewards, ids, normalize=normalize)
    assert group_advantages(rewards, ids, normalize="none").tolist() == [0.5, -0.5, 0.0]


def test_bad_arguments_are_named():
    rewards, ids = torch.ones(2), torch.tensor([0, 0])
    with pytest.raises(ValueError, match=r"rewards_B must be of shape \[B\], got \[1, 2\]"):
        group_advantages(rewards[None], ids)
    with pytest.raises(ValueError, match=r"group_ids_B must have the shape of rewards_B, \[2\], got \[3\]"):
        group_advantages(rewards, torch.tensor([0, 0, 0]))
    with pytest.raises(ValueError, match="group_ids_B must be integers"):
        group_advantages(rewards, rewards)
    with pytest.raises(ValueError, match=r"normalize must be one of .* got 'mean'"):
        group_advantages(rewards, ids, normalize="mean")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rewards_B must be finite"):
        group_advantages(torch.tensor([1.0, float("nan")]), ids)


def test_no_responses_give_no_advantages():
    assert group_advantages(torch.zeros(0), torch.zeros(0, dtype=torch.long)).shape == (0,)


def test_signal_lies_strictly_between_the_bounds():
    assert [has_signal(x) for x in (0.0, 0.01, 0.0101, 0.5, 0.9899, 0.99, 1.0, float("nan"))] == [
        False, False, True, True, True, False, False, False,
    ]  # fmt: skip
    assert has_signal(0.005, low=0.0, high=1.0)
    with pytest.raises(ValueError, match="low must be below high"):
        has_signal(0.5, 1.0, 0.0)
