"""Pure planning: which responses share a pass, which segments an attention call, what is made ahead."""

import threading
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pgpo_async.policy.ahead import ahead
from pgpo_async.policy.packing import GroupSize, pack
from pgpo_async.policy.segments import MAX_WASTE, plan_segments

SIZES = st.lists(
    st.builds(
        lambda prompt, responses: GroupSize(prompt=prompt, responses=tuple(responses)),
        st.integers(1, 50),
        st.lists(st.integers(0, 30), max_size=8),
    ),
    max_size=25,
)


def part_size(size: GroupSize, responses: tuple[int, ...]) -> GroupSize:
    return GroupSize(prompt=size.prompt, responses=tuple(size.responses[i] for i in responses))


@given(SIZES, st.integers(1, 250))
def test_every_response_is_in_one_pass_and_no_pass_above_the_budget(
    sizes: list[GroupSize], budget: int
) -> None:
    passes = pack(sizes, budget, pair_cost=0.01)
    seen = [(part.group, i) for parts in passes for part in parts for i in part.responses]
    assert sorted(seen) == [(g, i) for g, size in enumerate(sizes) for i in range(len(size.responses))]
    assert {part.group for parts in passes for part in parts} == set(range(len(sizes)))
    for parts in passes:
        total = sum(part_size(sizes[p.group], p.responses).num_tokens for p in parts)
        lone = len(parts) == 1 and len(parts[0].responses) <= 1
        prompt_fills = len(parts) == 1 and sizes[parts[0].group].prompt >= budget
        assert parts
        assert total <= budget or lone or prompt_fills
    assert passes == pack(sizes, budget, pair_cost=0.01)


@given(SIZES)
def test_a_group_that_fits_is_not_cut(sizes: list[GroupSize]) -> None:
    budget = max((size.num_tokens for size in sizes), default=1)
    parts = [part for parts in pack(sizes, budget) for part in parts]
    assert sorted(part.group for part in parts) == list(range(len(sizes)))


def test_passes_are_few_even_in_cost_and_the_most_expensive_first() -> None:
    sizes = [GroupSize(prompt=p, responses=(11,)) for p in (90, 10, 50, 50, 40, 20)]
    passes = pack(sizes, 170, pair_cost=0.01)
    costs = [
        sum(sizes[p.group].num_tokens + 0.01 * sizes[p.group].num_pairs for p in parts) for parts in passes
    ]
    assert len(passes) == 2
    assert costs == sorted(costs, reverse=True)
    assert costs[0] < 1.1 * costs[1]
    with pytest.raises(ValueError, match="budget must be at least 1 token, got 0"):
        pack(sizes, 0)


def test_a_large_group_is_cut_into_parts_with_the_prompt_in_each() -> None:
    size = GroupSize(prompt=40, responses=(31, 31, 31, 11, 11, 11))
    assert size.num_tokens == 40 + 90 + 30
    passes = pack([size], 100)
    assert sorted(sum(size.responses[i] for i in parts[0].responses) for parts in passes) == [62, 64]
    assert [len(parts) for parts in passes] == [1, 1]


@given(
    st.lists(st.tuples(st.integers(1, 60), st.lists(st.integers(0, 40), max_size=6)), min_size=1, max_size=8)
)
def test_buckets_cover_the_row_and_padding_can_be_undone(groups: list[tuple[int, list[int]]]) -> None:
    prompts, responses = [p for p, _ in groups], [r for _, r in groups]
    plan = plan_segments(prompts, responses)
    row = torch.arange(sum(prompts) + sum(map(sum, responses)))
    alone = [sum(1 for n in each if n) == 1 for each in responses]
    found = []
    for bucket in plan.buckets:
        tokens, lengths = row[bucket.start : bucket.end], [bucket.length] * bucket.num_segments
        if bucket.pad_index is not None and bucket.token_index is not None and bucket.unpad_index is not None:
            batch, tokens = row[bucket.pad_index], row[bucket.token_index]
            assert torch.equal(batch[bucket.unpad_index], tokens)
            rows = batch.view(bucket.num_segments, bucket.length)
            lengths = [len(each.unique()) for each in rows]
            steps = rows.diff(dim=1)
            # On to the next token, or padding; once, from a prompt to its only response.
            assert (((steps != 1) & (rows != rows[:, -1:])[:, 1:]).sum(1) <= 1).all()
        assert len(tokens) == sum(lengths)
        padded = bucket.num_segments * bucket.length**2
        assert padded <= (1 + MAX_WASTE) * sum(n * n for n in lengths)
        found += tokens.tolist()
    assert sorted(found) == row.tolist()
    filled = [n for n in [*prompts, *(n for each in responses for n in each)] if n]
    assert plan.offsets.diff().tolist() == filled
    assert plan.query_offsets.diff().tolist() == [sum(each) for each in responses]
    assert plan.key_offsets.diff().tolist() == prompts
    several = [sum(r) for r, one in zip(responses, alone, strict=True) if sum(r) and not one]
    assert [p.query_end - p.query_start for p in plan.prefixes] == several
    sizes = sorted(
        n
        for prompt, each, one in zip(prompts, responses, alone, strict=True)
        for n in ([prompt + sum(each)] if one else [prompt, *each])
        if n
    )
    assert sum(bucket.num_segments for bucket in plan.buckets) == len(sizes)
    for prefix in plan.prefixes:
        assert prefix.key_end - prefix.key_start in prompts


def test_jobs_run_one_ahead_in_order_and_an_error_comes_in_its_turn() -> None:
    started: list[int] = []
    next_started = threading.Event()

    def job(number: int) -> int:
        started.append(number)
        if number == 1:
            next_started.set()
        if number == 3:
            raise ValueError("three")
        return number

    results = ahead(partial(job, i) for i in range(6))
    assert next(results) == 0
    assert next_started.wait(5)  # the second is made while the first is in use
    assert 2 not in started
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(ValueError, match="three"):
        next(results)
    assert 5 not in started
    assert list(ahead(())) == []
