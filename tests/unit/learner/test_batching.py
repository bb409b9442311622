import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgpo_async.contracts import GroupHeader
from pgpo_async.learner.batching import assign_groups, group_cost, loss_normalizer

TOKENS = st.lists(st.integers(0, 5000), max_size=60)
RANKS = st.integers(1, 9)


def header(num_rollouts=2, num_prompt_tokens=10, num_response_tokens=7):
    return GroupHeader(
        group_id="g",
        num_rollouts=num_rollouts,
        num_prompt_tokens=num_prompt_tokens,
        num_response_tokens=num_response_tokens,
        oldest_version=0,
        newest_version=0,
        num_mixed_rollouts=0,
        mean_reward=0.0,
        mean_parts={},
    )


@settings(deadline=None)
@given(TOKENS, RANKS)
def test_every_group_goes_to_one_rank_in_order(num_tokens, world_size):
    shares = assign_groups(num_tokens, world_size)
    assert len(shares) == world_size
    assert sorted(i for share in shares for i in share) == list(range(len(num_tokens)))
    assert all(share == sorted(share) for share in shares)
    assert shares == assign_groups(list(num_tokens), world_size)


@settings(deadline=None)
@given(TOKENS, RANKS)
def test_no_rank_is_above_what_longest_first_guarantees(num_tokens, world_size):
    loads = [sum(max(1, num_tokens[i]) for i in share) for share in assign_groups(num_tokens, world_size)]
    counted = [max(1, tokens) for tokens in num_tokens]
    best = max([sum(counted) / world_size, *counted], default=0)
    # The rank that got the last group was the least loaded then: at most the mean before it.
    assert max(loads) <= best * (2 - 1 / world_size) + 1e-9
    if len(num_tokens) >= world_size:
        assert all(loads), "no rank may be idle while another holds two groups"


def test_large_groups_are_spread_before_small_ones():
    assert assign_groups([10, 90, 50, 40, 50], 2) == [[1, 3], [0, 2, 4]]


def test_equal_groups_alternate_over_the_ranks():
    assert assign_groups([5] * 5, 2) == [[0, 2, 4], [1, 3]]
    assert assign_groups([], 2) == [[], []]


def test_a_world_without_ranks_is_refused():
    with pytest.raises(ValueError, match="world_size must be at least 1, got 0"):
        assign_groups([1], 0)


def test_the_normalizer_counts_the_whole_step():
    headers = [header(num_response_tokens=7), header(num_rollouts=3, num_response_tokens=5)]
    assert loss_normalizer(headers, "token_mean") == 12.0
    assert loss_normalizer(headers, "sequence_mean") == 5.0
    assert loss_normalizer([header(num_response_tokens=0)], "token_mean") == 1.0


def test_a_groups_cost_counts_its_prompt_once_and_what_attends_to_what():
    group = header(num_rollouts=2, num_prompt_tokens=10, num_response_tokens=8)
    assert group_cost(group) == 18
    # The prompt to itself 50, two responses of 4 to themselves 16, to the prompt 80.
    assert group_cost(group, 0.5) == 18 + 0.5 * (50 + 16 + 80)
    assert group_cost(header(num_rollouts=0, num_response_tokens=0), 1.0) == 10 + 50
