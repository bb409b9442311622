"""When generators and trainer disagree: what is said to be the cause, and what is done about it."""

import re
from types import SimpleNamespace

import pytest

from pgpo_async.config import RunConfig
from pgpo_async.contracts import StageFailed
from pgpo_async.orchestration import intake_guard
from pgpo_async.orchestration.intake_guard import IntakeGuard
from pgpo_async.orchestration.mismatch_guard import MismatchGuard

CONFIG = RunConfig.model_validate({"train": {"max_lag": 1, "guard": {"patience": 2}}})
GOOD = {"fresh_mismatch_kl": 1e-3, "fresh_slope": 1.0, "is_capped_share": 0.01}


def told(*steps):
    """What the guard says after steps of such metrics; the last step is the first at which it speaks."""
    guard = MismatchGuard(CONFIG.train.guard)
    said = [guard.note(number, GOOD | metrics) for number, metrics in enumerate(steps, 1)]
    assert said[:-1] == [None] * (len(said) - 1)
    return said[-1]


@pytest.mark.parametrize(
    ("steps", "cause"),
    [
        ([{}, {"fresh_mismatch_kl": 0.4}, {"fresh_mismatch_kl": 0.5}], "stale cache .* until step 1"),
        ([{"fresh_mismatch_kl": 0.4}, {"fresh_mismatch_kl": 0.5}], "likely precision"),
        ([{}, *[{"fresh_mismatch_kl": 0.4, "fresh_slope": 1.42}] * 2], "another temperature, .* 1.42 times"),
        (
            [{}, *[{"is_capped_share": 0.7}] * 2],
            "70% of the importance weights .* lower learner.optimizer.lr",
        ),
    ],
)
def test_the_likely_cause_is_named(steps, cause):
    assert re.search(cause, told(*steps) or "")


def test_one_bad_step_is_not_enough():
    assert told({}, {"fresh_mismatch_kl": 9.0}, {}, {"is_capped_share": 0.9}, {}) is None


@pytest.fixture
def guarded(monkeypatch):
    calls, said = [], []
    monkeypatch.setattr(intake_guard.ray, "get", lambda answer, **_: answer)
    monkeypatch.setattr(intake_guard.ray, "wait", lambda asked, **_: (asked, []))
    pause = SimpleNamespace(remote=lambda paused: calls.append("pause" if paused else "go on"))
    refresh = SimpleNamespace(remote=lambda: calls.append("refresh"))
    cluster = SimpleNamespace(
        queue=SimpleNamespace(pause_intake=pause),
        generators=[SimpleNamespace(refresh=refresh), SimpleNamespace(refresh=refresh)],
    )
    guard = IntakeGuard(CONFIG, cluster, SimpleNamespace(tell=said.append))
    return SimpleNamespace(guard=guard, calls=calls, said=said)


BAD = GOOD | {"fresh_mismatch_kl": 0.4}


def test_intake_stands_still_while_the_generators_are_renewed(guarded):
    for step, metrics in enumerate([GOOD, BAD, BAD, GOOD, GOOD], 1):
        guarded.guard.note(step, metrics)
    assert guarded.calls == ["pause", "refresh", "refresh", "go on"]
    assert "stale cache" in guarded.said[0]
    assert "intake is paused" in guarded.said[0]


def test_what_renewing_does_not_cure_ends_the_run_with_its_cause(guarded):
    for step, metrics in enumerate([GOOD, BAD, BAD, BAD], 1):
        guarded.guard.note(step, metrics)
    with pytest.raises(StageFailed, match=r"stale cache .*renewing the generators did not help") as caught:
        guarded.guard.note(5, BAD)
    assert caught.value.role == "generator"


def test_the_same_much_later_is_another_case(guarded):
    for step in (2, 3, 200, 201):
        guarded.guard.note(step, BAD)
    assert guarded.calls.count("refresh") == 4
