"""Mixtures: exact proportions, each source's own order, and a config that gives them."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgpo_async.config import load_config
from pgpo_async.contracts import ConfigError, Prompt, PromptError
from pgpo_async.data.mixing import MixingSchedule
from pgpo_async.data.sources import PromptSource, train_source

WEIGHTS = st.lists(st.floats(0.01, 100, allow_nan=False), min_size=1, max_size=6)


@settings(deadline=None)
@given(weights=WEIGHTS, seed=st.integers(0, 2**40), start=st.integers(0, 10**12), length=st.integers(1, 300))
def test_each_source_is_drawn_in_its_own_order_without_gaps(
    weights: list[float], seed: int, start: int, length: int
) -> None:
    schedule = MixingSchedule(weights, seed=seed)
    next_index: dict[int, int] = {}
    for index in range(start, start + length):
        source, inner = schedule.locate(index)
        assert inner == next_index.get(source, inner)
        next_index[source] = inner + 1


@settings(deadline=None)
@given(weights=WEIGHTS, seed=st.integers(0, 2**40), num_blocks=st.integers(0, 10**9))
def test_after_any_number_of_blocks_no_count_is_off_by_a_draw(
    weights: list[float], seed: int, num_blocks: int
) -> None:
    schedule = MixingSchedule(weights, seed=seed)
    counts = schedule.counts(num_blocks)
    num_draws = num_blocks * schedule.block_size
    assert sum(counts) == num_draws
    for weight, count in zip(weights, counts, strict=True):
        # A float's own rounding, of so many draws, is all that is let through above one draw.
        assert abs(count - num_draws * weight / sum(weights)) < 1 + num_draws * 1e-14


@settings(deadline=None, max_examples=50)
@given(weights=WEIGHTS, seed=st.integers(0, 2**40), num_blocks=st.integers(1, 5))
def test_the_draws_are_as_many_as_the_counts_say(weights: list[float], seed: int, num_blocks: int) -> None:
    schedule = MixingSchedule(weights, seed=seed)
    places = [schedule.locate(index) for index in range(min(2000, schedule.block_size) * num_blocks)]
    whole = len(places) // schedule.block_size
    drawn = Counter(source for source, _ in places[: whole * schedule.block_size])
    assert [drawn[source] for source in range(len(weights))] == schedule.counts(whole)
    assert len(set(places)) == len(places)
    fresh = MixingSchedule(weights, seed=seed)
    assert [fresh.locate(index) for index in reversed(range(len(places)))] == places[::-1]


def test_the_schedule_is_the_same_for_ever_and_differs_by_seed_and_block() -> None:
    schedule = MixingSchedule([0.7, 0.3], seed=7)
    order = [schedule.locate(index)[0] for index in range(16)]
    assert order == [1, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1]  # a resumed run depends on it
    assert order != [schedule.locate(index)[0] for index in range(16, 32)]
    assert order != [MixingSchedule([0.7, 0.3], seed=8).locate(index)[0] for index in range(16)]


def test_weights_that_cannot_be_mixed_are_refused() -> None:
    for weights, seed in (([], 0), ([1.0, 0.0], 0), ([-1.0], 0), ([1.0], -1)):
        with pytest.raises(ValueError, match="above 0"):
            MixingSchedule(weights, seed=seed)
    with pytest.raises(ValueError, match="index must be at least 0"):
        MixingSchedule([1.0], seed=0).locate(-1)


def mixed(*overrides: str) -> PromptSource:
    return train_source(load_config("configs/local.yaml", ["data.source=''", *overrides]))


def outcome(source: PromptSource, index: int) -> Prompt | PromptError:
    try:
        return source.prompt(index)
    except PromptError as error:
        return error


def write(folder: Path, *, problem: str, name: str, count: int) -> Path:
    folder.mkdir()
    rows = [f'{{"images": [], "{problem}": "{name} {i}", "answer": "{i}"}}\n' for i in range(count)]
    (folder / "set.jsonl").write_text("".join(rows) + f'{{"images": [], "{problem}": "{name}"}}\n')
    return folder / "set.jsonl"


def test_sources_are_mixed_by_weight_each_with_its_columns_and_over_its_own_epochs(
    tmp_path: Path,
) -> None:
    first = write(tmp_path / "a", problem="question", name="a", count=29)
    second = write(tmp_path / "b", problem="problem", name="b", count=4)
    source = mixed(
        f"data.sources=[{{source: {first}, weight: 3, columns: {{problem: question}}}},"
        f"{{source: {second}, weight: 1}}, {{source: 'builtin:shapes'}}]"
    )
    assert source.num_rows is None
    ids: list[str] = []
    for index in range(300):
        drawn = outcome(source, index)
        prompt = drawn.prompt if isinstance(drawn, PromptError) else drawn
        assert prompt is not None
        assert prompt.index == index
        if isinstance(drawn, PromptError):
            assert (drawn.reason, drawn.prompt_id) == ("missing_answer", prompt.prompt_id)
            assert str(drawn).startswith(f"prompt {prompt.prompt_id}: ")
        ids.append(prompt.prompt_id)
    number = Counter(prompt_id[0] for prompt_id in ids)
    assert [number[source] for source in "012"] == pytest.approx([180, 60, 60], abs=8)
    of_first = [prompt_id for prompt_id in ids if prompt_id[0] == "0"]
    of_second = [prompt_id for prompt_id in ids if prompt_id[0] == "1"]
    assert sorted(set(of_first[:30])) == sorted(of_first[:30]) == sorted(f"0/set/{i}" for i in range(30))
    assert set(Counter(of_second[:50]).values()) == {10}, "five rows, ten epochs"


def test_every_source_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        mixed(f"data.sources=[{{source: {tmp_path}}}, {{source: 'builtin:shapes'}}, {{source: no.jsonl}}]")
    first, second = caught.value.issues
    assert first.startswith("data.sources[0].source: a folder must hold")
    assert second.startswith("data.sources[2].source: a prompt source must be an existing file")
