"""Verdicts that are held: the same with and without, bounded by count and by bytes, never a failure."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgpo_async.contracts import RewardTimeout
from pgpo_async.rewards import accuracy
from pgpo_async.rewards.accuracy import accuracy_reward
from pgpo_async.rewards.recent import RecentVerdicts

TEXTS = st.sampled_from(["1", "2", "30", "x" * 50])


def test_a_second_response_with_the_same_answer_needs_no_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    recent = RecentVerdicts()
    assert accuracy_reward(r"first \boxed{0.50}", "1/2", recent=recent) == 1.0
    assert accuracy_reward(r"\boxed{3}", "1/2", recent=recent) == 0.0

    def never(*_: object, **__: object) -> bool:
        raise AssertionError("must not be asked")

    monkeypatch.setattr(accuracy, "answers_equal", never)
    assert accuracy_reward(r"otherwise \boxed{0.50}", "1/2", recent=recent) == 1.0
    assert accuracy_reward(r"\boxed{3}", "1/2", recent=recent) == 0.0
    assert recent.hits == 2
    with pytest.raises(AssertionError):
        accuracy_reward(r"\boxed{0.50}", "1/3", recent=recent)  # another reference is another pair


def test_a_pair_without_a_verdict_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    recent = RecentVerdicts()

    def late(*_: object, **__: object) -> bool:
        raise RewardTimeout("late")

    monkeypatch.setattr(accuracy, "answers_equal", late)
    for _ in range(2):
        with pytest.raises(RewardTimeout):
            accuracy_reward(r"\boxed{3}", "1/2", recent=recent)
    assert (len(recent), recent.hits) == (0, 0)


@settings(deadline=None)
@given(puts=st.lists(st.tuples(TEXTS, TEXTS, st.sampled_from([0.0, 1.0])), max_size=30))
def test_it_holds_the_last_asked_for_within_both_bounds(puts: list[tuple[str, str, float]]) -> None:
    recent = RecentVerdicts(max_count=3, max_bytes=900)
    order: list[tuple[str, str]] = []  # least recently asked for first
    for answer, reference, verdict in puts:
        if recent.get(answer, reference) is None:
            recent.put(answer, reference, verdict)
        key = (answer, reference)
        order = [*(other for other in order if other != key), key]
        assert recent.get(*key) is not None
        assert len(recent) <= 3
        assert recent.num_bytes <= 900
    held = len(recent)
    assert recent.num_bytes == sum(200 + 4 * len(a + r) for a, r in order[len(order) - held :])
    assert all(recent.get(*key) is not None for key in order[len(order) - held :])


def test_what_alone_is_beyond_the_bytes_is_not_held_and_pushes_nothing_out() -> None:
    recent = RecentVerdicts(max_bytes=1000)
    recent.put("1", "2", 0.0)
    recent.put("x" * 1000, "2", 0.0)
    assert recent.get("1", "2") == 0.0
    assert len(recent) == 1
