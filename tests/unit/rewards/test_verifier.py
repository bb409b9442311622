"""Weighing, the user's own functions, and that no failure becomes a reward."""

import math
from pathlib import Path

import pytest

from pgpo_async.contracts import ConfigError, Prompt, RewardError, RewardTimeout
from pgpo_async.rewards.verifier import Verifier

PROMPT = Prompt(prompt_id="p/1", question="how many ?", answer="3")

FUNCTIONS = """
import math, sys
import numpy as np
from dataclasses import dataclass

@dataclass
class Needed:
    x: int = 0

def length(response, prompt): return len(response) / 10
def whole_correct(response, prompt): return prompt.answer in response
def named(response, prompt): return {"accuracy": 1.0, "brevity": np.float32(0.5)}
def named_total(response, prompt): return {"reward": 0.25, "accuracy": 1.0}
def nan(response, prompt): return math.nan
def infinite(response, prompt): return {"accuracy": math.inf}
def nothing(response, prompt): return None
def text(response, prompt): return "1.0"
def empty(response, prompt): return {}
def unnamed(response, prompt): return {1: 1.0}
def raises(response, prompt): raise KeyError("no such key")
def leaves(response, prompt): sys.exit(3)
constant = 3
"""


@pytest.fixture
def functions(tmp_path: Path) -> str:
    path = tmp_path / "my_rewards.py"
    path.write_text(FUNCTIONS)
    return str(path)


def test_the_built_in_reward_weighs_accuracy_and_format() -> None:
    texts = [r"<think>a</think> \boxed{3}", r"\boxed{3}", r"<think>a</think> \boxed{4}", "3"]
    scored = Verifier(0.9, 0.1).score(texts, PROMPT)
    assert [s.total for s in scored] == pytest.approx([1.0, 0.9, 0.1, 0.0])
    assert scored[1].parts == {"accuracy": 1.0, "format": 0.0}


def test_a_function_replaces_both_and_may_return_a_number_or_named_parts(functions: str) -> None:
    def score(name: str) -> tuple[float, dict[str, float]]:
        (scored,) = Verifier(0.9, 0.1, f"{functions}:{name}").score(["the 3."], PROMPT)
        return scored.total, dict(scored.parts)

    assert score("length") == (0.6, {"reward": 0.6})
    assert score("whole_correct") == (1.0, {"reward": 1.0})
    assert score("named") == (1.5, {"accuracy": 1.0, "brevity": 0.5})
    assert score("named_total") == (0.25, {"reward": 0.25, "accuracy": 1.0})


def test_a_function_of_an_importable_module_is_found(functions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(functions).parent))
    assert Verifier(function="my_rewards:length").score(["abc"], PROMPT)[0].total == 0.3


@pytest.mark.parametrize("name", ["nan", "infinite", "nothing", "text", "empty", "unnamed"])
def test_what_is_no_finite_number_is_invalid_and_not_zero(functions: str, name: str) -> None:
    with pytest.raises(RewardError, match="must return a finite number") as caught:
        Verifier(function=f"{functions}:{name}").score(["a"], PROMPT)
    assert caught.value.reason == "reward_invalid"


@pytest.mark.parametrize(
    ("name", "text"), [("raises", "KeyError: 'no such key'"), ("leaves", "SystemExit: 3")]
)
def test_a_function_that_raises_fails_its_group_with_its_words(functions: str, name: str, text: str) -> None:
    with pytest.raises(RewardError, match=text) as caught:
        Verifier(function=f"{functions}:{name}").score(["a"], PROMPT)
    assert caught.value.reason == "reward_error"
    assert "p/1" in str(caught.value)


def test_a_function_that_cannot_be_found_is_reported_when_the_verifier_is_made(functions: str) -> None:
    cases = {
        "no_colon": "module:function",
        "no_such_module_x:f": "No module named",
        f"{functions}:lenght": "did you mean 'length'",
        f"{functions}:constant": "must be callable",
        f"{functions.replace('my_rewards', 'my_reward')}:length": "did you mean 'my_rewards.py'",
    }
    for function, words in cases.items():
        with pytest.raises(ConfigError, match=words):
            Verifier(function=function)


def test_a_module_that_fails_to_import_says_why_each_time(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("raise RuntimeError('no licence')\n")
    for _ in range(2):
        with pytest.raises(ConfigError, match="RuntimeError: no licence"):
            Verifier(function=f"{path}:f")


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf])
def test_weights_are_finite_and_not_negative(weight: float) -> None:
    with pytest.raises(ConfigError, match="accuracy_weight"):
        Verifier(weight, 0.1)


ASYNC_FUNCTIONS = """
import asyncio

ARRIVED = []
ALL = None

async def together(response, prompt):
    global ALL
    ALL = ALL or asyncio.Event()
    ARRIVED.append(response)
    if len(ARRIVED) == 3:
        ALL.set()
    await asyncio.wait_for(ALL.wait(), 30.0)
    return {"reward": float(response), "seen": len(ARRIVED)}

async def raises(response, prompt):
    raise KeyError("no such key")

async def nan(response, prompt):
    return float("nan")

class Judge:
    async def __call__(self, response, prompt):
        return 2.0

judge = Judge()
"""


@pytest.fixture
def async_functions(tmp_path: Path) -> str:
    path = tmp_path / "my_async_rewards.py"
    path.write_text(ASYNC_FUNCTIONS)
    return str(path)


def test_an_async_function_is_awaited_for_all_texts_at_once_in_order(async_functions: str) -> None:
    scored = Verifier(function=f"{async_functions}:together").score(["1", "2", "3"], PROMPT)
    assert [s.total for s in scored] == [1.0, 2.0, 3.0]
    assert [s.parts["seen"] for s in scored] == [3.0, 3.0, 3.0]
    assert Verifier(function=f"{async_functions}:judge").score(["1"], PROMPT)[0].total == 2.0


@pytest.mark.parametrize(("name", "reason"), [("raises", "reward_error"), ("nan", "reward_invalid")])
def test_an_async_function_fails_its_group_as_any_other(async_functions: str, name: str, reason: str) -> None:
    with pytest.raises(RewardError) as caught:
        Verifier(function=f"{async_functions}:{name}").score(["1", "2"], PROMPT)
    assert caught.value.reason == reason


def test_a_pair_without_a_verdict_in_time_is_a_timeout_and_no_zero() -> None:
    prompt = Prompt(prompt_id="p/1", question="?", answer="7x")
    with pytest.raises(RewardTimeout, match="p/1"):
        Verifier().score([r"\boxed{7x}", r"\boxed{9^{9^{9^{9}}}}"], prompt)


def test_like_answers_of_a_group_are_compared_once() -> None:
    verifier = Verifier()
    verifier.score([r"a \boxed{3.0}", r"b \boxed{3.0}", r"c \boxed{4}", "none"], PROMPT)
    assert verifier.hits == 1


def test_the_tolerance_is_of_the_verifier_and_must_be_a_finite_number() -> None:
    assert Verifier(tolerance=0.01).score([r"\boxed{3.02}"], PROMPT)[0].parts["accuracy"] == 1.0
    assert Verifier().score([r"\boxed{3.02}"], PROMPT)[0].parts["accuracy"] == 0.0
    with pytest.raises(ConfigError, match="tolerance"):
        Verifier(tolerance=math.nan)
