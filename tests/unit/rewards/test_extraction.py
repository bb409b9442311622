r"""Boxes and tags in any text, against small oracles that know how the text was made."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from pgpo_async.rewards.accuracy import accuracy_reward
from pgpo_async.rewards.answer_text import last_box
from pgpo_async.rewards.format import format_reward

BOX = r"\boxed{"
PIECES = [
    "{",
    "}",
    r"\{",
    r"\}",
    r"\\",
    "a",
    "1",
    " ",
    "\n",
    r"\frac",
    r"\box",
    "boxed{",
    BOX,
    "<think>",
    "</think>",
]

# Text without a box whose braces are balanced; escaped braces are letters.
flat = st.lists(st.sampled_from(["a", "1", "+", " ", "\n", r"\{", r"\}", r"\frac", "<", ">"]), max_size=5)
balanced: st.SearchStrategy[str] = st.recursive(
    flat.map("".join),
    lambda inner: st.lists(st.one_of(inner, inner.map(lambda text: f"{{{text}}}")), max_size=3).map("".join),
    max_leaves=10,
)
loose = st.text(alphabet="ab{} \n<>", max_size=10)
spaces = st.text(alphabet=" \t\n", max_size=3)


def box_by_peeling(text: str) -> str | None:
    """Take innermost pairs of braces away until the last box's own is innermost: no counting, no index."""
    if BOX not in text:
        return None
    rest = text.rsplit(BOX, 1)[1]
    for escaped, sign in ((r"\\", "\0"), (r"\{", "\1"), (r"\}", "\2")):
        rest = rest.replace(escaped, sign)
    while True:
        before, brace, after = rest.partition("}")
        if not brace:
            return None
        if "{" not in before:
            break
        outer, _, inner = before.rpartition("{")
        rest = f"{outer}\3{inner}\4{after}"
    for sign, written in (("\0", r"\\"), ("\1", r"\{"), ("\2", r"\}"), ("\3", "{"), ("\4", "}")):
        before = before.replace(sign, written)
    return before.strip()


@settings(deadline=None, max_examples=500)
@given(pieces=st.lists(st.sampled_from(PIECES), max_size=14))
def test_the_box_found_in_any_text_is_the_one_left_by_peeling_braces(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert last_box(text) == box_by_peeling(text)


@settings(deadline=None)
@given(contents=st.lists(balanced, min_size=1, max_size=4), between=st.lists(loose, min_size=5, max_size=5))
def test_of_several_boxes_the_last_is_read_whatever_stands_between(
    contents: list[str], between: list[str]
) -> None:
    text = between[0] + "".join(
        f"{BOX}{content}}}{after}" for content, after in zip(contents, between[1:], strict=False)
    )
    assert last_box(text) == contents[-1].strip()


@settings(deadline=None)
@given(closed=balanced, content=balanced, before=loose)
def test_a_last_box_that_is_cut_has_no_answer_even_behind_one_that_is_closed(
    closed: str, content: str, before: str
) -> None:
    assert last_box(f"{before}{BOX}{closed}}} {BOX}{content}") is None
    assert accuracy_reward(f"{BOX}7}} {BOX}{content}", "7") == 0.0


@settings(deadline=None)
@given(text=st.text(alphabet="boxed\\{} 37\n<>/think", max_size=30).filter(lambda text: BOX not in text))
def test_without_a_box_there_is_neither_answer_nor_form(text: str) -> None:
    assert last_box(text) is None
    assert accuracy_reward(text, "3") == 0.0
    assert format_reward(f"<think>a</think>{text}") == 0.0


@settings(deadline=None)
@given(
    number=st.integers(-(10**6), 10**6),
    a=spaces,
    b=spaces,
    depth=st.integers(0, 4),
    before=loose,
    after=loose,
)
def test_white_space_and_braces_in_a_box_change_no_verdict(
    number: int, a: str, b: str, depth: int, before: str, after: str
) -> None:
    wrapped = BOX + a + r"\text{" * depth + str(number) + "}" * depth + b + "}"
    assert accuracy_reward(before + wrapped + after, str(number)) == 1.0
    assert accuracy_reward(before + wrapped + after, str(number + 1)) == 0.0


@settings(deadline=None)
@given(thought=balanced, between=flat.map("".join), content=balanced, after=flat.map("".join))
def test_the_asked_form_is_accepted_and_each_broken_one_refused(
    thought: str, between: str, content: str, after: str
) -> None:
    parts = ["<think>", thought, "</think>", between, BOX, content, "}", after]
    assert format_reward("".join(parts)) == 1.0
    breaks: list[Callable[[list[str]], list[str]]] = [
        lambda p: ["so ", *p],  # something before the thought
        lambda p: ["</think>", *p[1:]],  # never opened
        lambda p: [*p[:2], *p[3:]],  # never closed
        lambda p: [*p[:2], "</thin>", *p[3:]],  # closed by something else
        lambda p: ["<Think>", *p[1:]],  # tags have their case
        lambda p: [*p[:4], "\\boxed", *p[7:]],  # a box without braces
        lambda p: [p[0], p[4], p[5].replace("<", ""), p[6], p[2]],  # the box in the thought
    ]
    for broken in breaks:
        assert format_reward("".join(broken(parts))) == 0.0
