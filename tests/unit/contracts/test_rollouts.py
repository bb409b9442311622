"""The types' own checks: lengths, spans, the summary the queue works with, the accounting."""

import numpy as np
import pytest

from pgpo_async.contracts import Accounting, Prompt, Rollout, RolloutGroup, ScoredGroup, VersionSpan

PROMPT = Prompt(prompt_id="p/1", question="q", answer="3")


def rollout(*spans: tuple[int, int, int], size: int = 4, **changes: object) -> Rollout:
    values = {
        "response_token_ids": np.arange(size, dtype=np.int32),
        "behaviour_logprobs": np.zeros(size, dtype=np.float32),
        "version_spans": tuple(VersionSpan(version=v, start=a, end=b) for v, a, b in spans),
        "finish_reason": "stop",
        "text": "",
    }
    return Rollout(**(values | changes))  # type: ignore[arg-type]


def group(*rollouts: Rollout) -> RolloutGroup:
    tokens = np.arange(5, dtype=np.int32)
    return RolloutGroup(group_id="g", prompt=PROMPT, prompt_token_ids=tokens, rollouts=rollouts)


@pytest.mark.parametrize(
    "spans",
    [
        [],
        [(0, 0, 3)],
        [(0, 0, 5)],
        [(0, 1, 4)],
        [(0, 0, 2), (1, 3, 4)],
        [(0, 0, 3), (1, 2, 4)],
        [(0, 0, 5), (1, 5, 4)],
    ],
)
def test_version_spans_must_cover_the_response_in_order(spans: list[tuple[int, int, int]]) -> None:
    with pytest.raises(ValueError, match="version_spans must cover"):
        rollout(*spans)


def test_every_array_has_one_entry_a_response_token() -> None:
    with pytest.raises(ValueError, match="each of the 4 response tokens, got 3"):
        rollout((0, 0, 4), behaviour_logprobs=np.zeros(3, dtype=np.float32))
    good = (np.zeros(4, dtype=np.float32),)
    for name in ("proximal_logprobs", "dependency", "token_weights"):
        arrays = {"proximal_logprobs": good, "dependency": good, "token_weights": good}
        arrays[name] = (np.zeros(3, dtype=np.float32),)
        with pytest.raises(ValueError, match=rf"{name} must have the response lengths \[4\], got \[3\]"):
            ScoredGroup(group=group(rollout((0, 0, 4))), scorer_version=0, **arrays)


def test_the_header_sums_a_group_up_with_its_versions_and_parts() -> None:
    header = group(
        rollout((3, 0, 1), (5, 1, 4), reward=1.0, reward_parts={"accuracy": 1.0}),
        rollout((4, 0, 4), reward=0.5, reward_parts={"accuracy": 0.0, "format": 1.0}),
        rollout(size=0),
        rollout((4, 0, 2), (4, 2, 4)),
    ).header()
    assert (header.oldest_version, header.newest_version, header.num_mixed_rollouts) == (3, 5, 1)
    assert (header.num_rollouts, header.num_prompt_tokens, header.num_response_tokens) == (4, 5, 12)
    assert header.mean_reward == 0.375
    assert header.mean_parts == {"accuracy": 0.25, "format": 0.25}


def test_rollouts_differ_by_one_bit_of_one_array_or_its_type() -> None:
    base = rollout((0, 0, 4))
    assert base == rollout((0, 0, 4))
    assert base != rollout((0, 0, 4), behaviour_logprobs=np.array([0, 0, 0, 1e-45], dtype=np.float32))
    assert base != rollout((0, 0, 4), behaviour_logprobs=np.zeros(4))
    nan = np.array([np.nan, 0, 0, 0], dtype=np.float32)
    assert rollout((0, 0, 4), behaviour_logprobs=nan) == rollout((0, 0, 4), behaviour_logprobs=nan.copy())


def test_accounting_balances_only_if_every_prompt_and_every_reason_is_counted_once() -> None:
    def sums(**changes: object) -> Accounting:
        counts = {"drawn": 15, "trained": 5, "filtered": 4, "stale": 3, "quarantined": 2, "pending": 1}
        reasons = {"reward_timeout": 1, "corrupt_image": 1}
        return Accounting(**({**counts, "quarantined_by_reason": reasons} | changes))  # type: ignore[arg-type]

    assert sums().balanced
    for name in ("drawn", "trained", "filtered", "stale", "pending", "quarantined"):
        assert not sums(**{name: 7}).balanced
    assert not sums(quarantined_by_reason={"reward_timeout": 1}).balanced
    assert list(sums().as_dict()) == ["drawn", "trained", "filtered", "stale", "quarantined", "pending"]
