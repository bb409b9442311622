"""Pure planning: which sequences share a pass, and which share an attention call."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pgpo_async.policy.passes import split_by_budget
from pgpo_async.policy.segments import MAX_WASTE, plan_segments


@given(
    st.lists(st.tuples(st.integers(1, 50), st.integers(0, 3)), max_size=40),
    st.integers(1, 120),
)
def test_passes_cover_all_in_order_within_the_budget(items: list[tuple[int, int]], budget: int) -> None:
    num_tokens = [tokens for tokens, _ in items]
    keys = [key for _, key in items]
    for passes in (split_by_budget(num_tokens, budget), split_by_budget(num_tokens, budget, keys=keys)):
        assert [i for indices in passes for i in indices] == list(range(len(items)))
        for indices in passes:
            assert indices
            assert sum(num_tokens[i] for i in indices) <= budget or len(indices) == 1


def test_a_prompts_sequences_stay_together_where_they_fit() -> None:
    assert split_by_budget([4, 4, 4, 4], 12) == [[0, 1, 2], [3]]
    assert split_by_budget([4, 4, 4, 4], 12, keys="aabb") == [[0, 1], [2, 3]]
    assert split_by_budget([4, 4, 4, 4, 4], 12, keys="abbbb") == [[0, 1, 2], [3, 4]]  # b fits nowhere
    assert split_by_budget([99, 1], 12) == [[0], [1]]
    assert split_by_budget([], 12) == []
    with pytest.raises(ValueError, match="budget must be at least 1 token, got 0"):
        split_by_budget([1], 0)
    with pytest.raises(ValueError, match="keys must be as many as num_tokens, 2, got 1"):
        split_by_budget([1, 1], 5, keys="a")


@given(st.lists(st.integers(1, 60), min_size=1, max_size=30))
def test_buckets_cover_the_row_and_padding_can_be_undone(lengths: list[int]) -> None:
    lengths.sort()
    position, sequence = 0, 0
    for bucket in plan_segments(lengths).buckets:
        assert bucket.start == position
        mine = lengths[sequence : sequence + bucket.num_sequences]
        assert bucket.end - bucket.start == sum(mine)
        assert bucket.length == max(mine)
        padded, own = bucket.num_sequences * bucket.length**2, sum(n * n for n in mine)
        assert padded <= (1 + MAX_WASTE) * own
        tokens = torch.arange(bucket.end - bucket.start)
        if bucket.pad_index is None or bucket.unpad_index is None:
            assert len(set(mine)) == 1
        else:
            rows = tokens[bucket.pad_index].view(bucket.num_sequences, bucket.length)
            starts = [sum(mine[:i]) for i in range(len(mine))]
            assert rows[:, 0].tolist() == starts
            assert torch.equal(rows.flatten()[bucket.unpad_index], tokens)
        position, sequence = bucket.end, sequence + bucket.num_sequences
    assert position == sum(lengths)
