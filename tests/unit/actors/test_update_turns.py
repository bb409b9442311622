"""Receivers load new weights in turns, so that most of a role keeps working."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgpo_async.actors.update_turns import UpdateTurns


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def turns_of(num: int, share: float = 0.01, clock: Clock | None = None) -> UpdateTurns:
    turns = UpdateTurns(share, turn_s=30.0, clock=clock or Clock())
    for i in range(num):
        turns.register(f"generator-{i}", "generator", 0)
    return turns


def test_one_loads_after_another() -> None:
    turns = turns_of(2)
    assert turns.take("generator-0", newest=1)
    assert not turns.take("generator-1", newest=1)
    turns.end("generator-0", version=1)
    assert not turns.take("generator-0", newest=1), "it serves the newest"
    assert turns.take("generator-1", newest=1)
    assert turns.served == {"generator-0": 1, "generator-1": 0}


def test_roles_do_not_wait_for_each_other() -> None:
    turns = turns_of(1)
    turns.register("scorer-0", "scorer", 0)
    assert turns.take("generator-0", newest=1)
    assert turns.take("scorer-0", newest=1)


@pytest.mark.parametrize(("share", "at_once"), [(0.01, 1), (0.25, 2), (0.5, 4), (1.0, 8)])
def test_the_share_says_how_many_load_at_once(share: float, at_once: int) -> None:
    turns = turns_of(8, share)
    assert sum(turns.take(f"generator-{i}", newest=1) for i in range(8)) == at_once


def test_a_slow_receiver_is_passed_over_and_a_dead_one_forgotten() -> None:
    clock = Clock()
    turns = turns_of(3, clock=clock)
    assert turns.take("generator-0", newest=1)
    clock.now = 31.0
    assert turns.take("generator-1", newest=1), "the turn of a slow one is over"
    assert not turns.take("generator-2", newest=1)
    turns.forget("generator-1")
    assert turns.take("generator-2", newest=1)
    turns.end("generator-1", version=1)
    assert "generator-1" not in turns.served


@given(
    st.lists(st.tuples(st.integers(0, 4), st.sampled_from(["take", "end", "die", "publish"])), max_size=80),
    st.floats(0.01, 1.0),
)
def test_most_of_a_role_is_always_working(events: list[tuple[int, str]], share: float) -> None:
    turns, newest, loading = turns_of(5, share), 1, set[str]()
    for i, event in events:
        name = f"generator-{i}"
        if event == "publish":
            newest += 1
        elif event == "take" and name not in loading:
            turns.register(name, "generator", turns.served.get(name, 0))
            if turns.take(name, newest):
                loading.add(name)
        elif event == "end" and name in loading:
            loading.remove(name)
            turns.end(name, newest)
        elif event == "die":
            loading.discard(name)
            turns.forget(name)
        assert len(loading) <= max(1, 5 * share)


def test_a_share_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="share must be above 0 and at most 1, got 0"):
        UpdateTurns(0, 1.0)
