r"""The asked form, against the regular expression that defines it."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgpo_async.rewards.format import format_reward

TOKENS = ["<think>", "</think>", r"\boxed{", "}", "\n", " ", "a", "<", "/", ">", "think", r"\boxed", "{"]


def by_regular_expression(response: str) -> float:
    text = re.sub(r"\s*(<|>|/)\s*", r"\1", response)
    return 1.0 if re.fullmatch(r"<think>.*</think>.*\\boxed\{.*\}.*", text, re.DOTALL) else 0.0


@pytest.mark.parametrize(
    ("response", "reward"),
    [
        (r"<think>a</think>\boxed{3}", 1.0),
        ("<think>\na\n</think>\nso\n\\boxed{3}\n.", 1.0),
        (r"  < think > a < / think > \boxed{3}", 1.0),
        (r"<think></think>\boxed{}", 1.0),
        (r"<think>a</think>\boxed{\frac{1}{2}}", 1.0),
        (r"well <think>a</think>\boxed{3}", 0.0),
        (r"<think>a</think>\boxed{3", 0.0),
        (r"<think>a</think>3", 0.0),
        (r"<think>\boxed{3}</think>", 0.0),
        (r"<think>a \boxed{3}", 0.0),
        (r"</think>\boxed{3}<think>", 0.0),
        (r"<THINK>a</THINK>\boxed{3}", 0.0),
        ("", 0.0),
    ],
)
def test_the_form_is_a_thought_and_then_a_closed_box(response: str, reward: float) -> None:
    assert format_reward(response) == reward


@settings(deadline=None, max_examples=500)
@given(
    start=st.sampled_from(["", "<think>", " <think>"]), tokens=st.lists(st.sampled_from(TOKENS), max_size=12)
)
def test_it_accepts_exactly_what_the_regular_expression_accepts(start: str, tokens: list[str]) -> None:
    response = start + "".join(tokens)
    assert format_reward(response) == by_regular_expression(response)


@settings(deadline=None)
@given(spaces=st.lists(st.text(alphabet=" \n\t", max_size=3), min_size=7, max_size=7))
def test_white_space_around_tag_signs_changes_nothing(spaces: list[str]) -> None:
    a, b, c, d, e, f, g = spaces
    assert format_reward(rf"{a}<{b}think{c}>{d}why<{e}/{f}think>{g}\boxed{{3}}") == 1.0


def test_a_degenerate_response_costs_linear_time() -> None:
    response = "<think>" + "</think>" * 20_000 + r"\boxed{" * 20_000
    start = time.perf_counter()
    assert format_reward(response) == 0.0
    assert time.perf_counter() - start < 1.0
