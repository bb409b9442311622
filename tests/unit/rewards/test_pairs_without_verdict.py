"""Pairs that hang or crash what verifies them, in the real child process: an error each, never a 0."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pgpo_async.actors.reward import RewardWorker
from pgpo_async.config.pipeline import RewardConfig
from pgpo_async.contracts import Prompt, RewardError, RewardTimeout
from pgpo_async.rewards.verifier import RewardParts

FUNCTION = r"""
import os, signal
from pgpo_async.rewards.accuracy import accuracy_reward

def judge(response, prompt):
    if "crash" in response:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "hang" in response:
        7 ** (7 ** 9)  # one C call: no signal handler of Python's gets a turn
    return accuracy_reward(response, prompt.answer)
"""


@pytest.fixture
def built_in() -> Iterator[RewardWorker]:
    worker = RewardWorker(RewardConfig(timeout_s=60.0, tolerance=0.01))
    yield worker
    worker.close()


@pytest.fixture
def with_bad_pairs(tmp_path: Path) -> Iterator[RewardWorker]:
    path = tmp_path / "judge.py"
    path.write_text(FUNCTION)
    worker = RewardWorker(RewardConfig(timeout_s=2.0, function=f"{path}:judge"))
    yield worker
    worker.close()


def score(worker: RewardWorker, answer: str, *boxed: str) -> list[RewardParts]:
    return worker.score(
        [rf"\boxed{{{text}}}" for text in boxed], Prompt(prompt_id="p/1", question="?", answer=answer)
    )


def test_a_pair_that_mathematics_does_not_end_on_fails_its_group_and_the_child_lives_on(
    built_in: RewardWorker,
) -> None:
    assert score(built_in, "7x", "7x", "x7", "8x")[0].parts["accuracy"] == 1.0
    with pytest.raises(RewardTimeout, match=r"p/1.*got no verdict") as caught:
        score(built_in, "7x", "7x", "9^{9^{9^{9}}}")
    assert caught.value.reason == "reward_timeout"
    assert [s.parts["accuracy"] for s in score(built_in, "7x", "7x", "7x", "8x")] == [1.0, 1.0, 0.0]
    # Like answers are held in the child that lived on: of the last call all three.
    assert (built_in.status()["scored"], built_in.status()["held_hits"]) == (6, 4)
    assert score(built_in, "3.15", "3.14")[0].parts["accuracy"] == 1.0  # the tolerance reaches the child


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [("crash", RewardError, "reward_crashed"), ("hang", RewardTimeout, "reward_timeout")],
)
def test_a_pair_that_takes_the_child_down_or_holds_it_fails_its_group_alone(
    with_bad_pairs: RewardWorker, text: str, kind: type[RewardError], reason: str
) -> None:
    with_bad_pairs.prepare()
    with pytest.raises(kind) as caught:
        score(with_bad_pairs, "3", "3", text)
    assert caught.value.reason == reason
    assert [s.total for s in score(with_bad_pairs, "3", "3", "4")] == [1.0, 0.0]
