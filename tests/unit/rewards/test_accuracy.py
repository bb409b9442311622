r"""Which answers are right: letters, numbers, words, mathematics, and the box they stand in."""

import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgpo_async.contracts import RewardTimeout
from pgpo_async.rewards.accuracy import accuracy_reward, answers_equal
from pgpo_async.rewards.answer_text import last_box

RIGHT = [
    # answer, reference
    ("B", "B"),
    ("(B)", "B"),
    ("B.", "B"),
    ("B)", "B"),
    ("[B]", "B"),
    ("b", "B"),
    ("(b)", "B"),
    ("B: a red square", "B"),
    ("B. 12 cm", "B"),
    ("(B) 12 cm", "B"),
    ("The answer is (B).", "B"),
    ("C, A", "A, C"),
    ("B", "(B)"),
    ("B", "B. 12 cm"),
    (r"\text{B}", "B"),
    (r"\textbf{(B)}", "B"),
    ("$B$", "B"),
    ("B", r"\boxed{B}"),
    ("3", "3"),
    ("3.0", "3"),
    ("3.", "3"),
    ("03", "3"),
    ("+3", "3"),
    ("-3", "-3"),
    ("\u22123", "-3"),
    (r"\(3\)", "3"),
    ("1,234,567", "1234567"),
    ("1{,}234", "1234"),
    ("1,234.50", "1234.5"),
    ("0.5", "1/2"),
    ("1/2", "0.5"),
    (r"\frac{1}{2}", "0.5"),
    (r"\dfrac12", "1/2"),
    (r"-\frac{1}{2}", "-0.5"),
    ("2/4", "1/2"),
    ("1e3", "1000"),
    ("0.3333333", "1/3"),
    ("50%", r"50\%"),
    ("50.0 %", "50%"),
    ("50%", "50"),
    ("50", "50%"),
    ("50%", "0.5"),
    ("1/2", "50%"),
    ("$5", r"\$5"),
    ("Red", "red"),
    ("light  blue", "lightblue"),
    (r"\text{red}", "red"),
    ("red.", "red"),
    (r"2\sqrt{3}", r"\sqrt{12}"),
    (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}"),
    ("(x+1)^2", "x^2+2x+1"),
    ("x = 3", "3"),
    ("5 cm", "5"),
    (r"5\text{ cm}", "5"),
    ("90\u00b0", "90"),
    (r"\{2, 1\}", r"\{1,2\}"),
    (r"\left( 1, 2 \right)", "(1,2)"),
    (r"3\frac{1}{2}", "3.5"),
    (r"\frac{\pi}{2}", r"\pi/2"),
]
WRONG = [
    ("A", "B"),
    ("(A)", "B"),
    ("A: B", "B"),
    ("A, B", "A"),
    ("AB", "A"),
    ("Blue", "B"),
    ("", "B"),
    ("  ", "3"),
    ("4", "3"),
    ("-3", "3"),
    ("33", "3"),
    ("3.1", "3"),
    ("1000000", "1000001"),
    ("0.33", "1/3"),
    ("1/0", "3"),
    ("0.5%", "0.5"),
    ("5000", "50%"),
    ("1 1/2", "11/2"),
    ("1  1/2", "11/2"),
    ("12,34", "1234"),
    ("3, 4", "3"),
    ("3 or 4", "3"),
    ("about 3", "3"),
    ("1,2,3", "3"),
    ("12, because", "12"),
    ("pot", "top"),  # to a computer algebra both are the product o * p * t
    ("red apple", "red"),  # and this is red, in apples
    ("blue", "red"),
    ("circles", "circle"),
    ("BA", "AB"),
    ("(2,1)", "(1,2)"),
    ("[1,2]", "(1,2)"),
    (r"\sqrt{13}", r"2\sqrt{3}"),
    (r"\frac{1", "1"),
    ("x" * 5000, "x^2"),
]


@pytest.mark.parametrize(("answer", "reference"), RIGHT)
def test_a_right_answer_is_right_however_it_is_written(answer: str, reference: str) -> None:
    assert answers_equal(answer, reference)
    assert accuracy_reward(rf"<think>so</think> \boxed{{{answer}}}", reference) == 1.0


@pytest.mark.parametrize(("answer", "reference"), WRONG)
def test_a_wrong_answer_is_wrong_even_if_it_contains_the_right_one(answer: str, reference: str) -> None:
    assert not answers_equal(answer, reference)
    assert accuracy_reward(rf"<think>so</think> \boxed{{{answer}}}", reference) == 0.0


@pytest.mark.parametrize(
    ("response", "box"),
    [
        (r"\boxed{3}", "3"),
        (r"first \boxed{1}, then \boxed{2}", "2"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\text{a{b}c}} tail }", r"\text{a{b}c}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\left\{ x \right.}", r"\left\{ x \right."),
        (r"\boxed{a \\}", r"a \\"),
        (r"\boxed{\boxed{3}}", "3"),
        (r"\boxed{ 3 }", "3"),
        (r"\boxed{}", ""),
        (r"\boxed{3", None),
        (r"\boxed{1} no, \boxed{\frac{2}{3}", None),  # cut in its answer: the first is not its answer
        (r"\boxed 3", None),
        ("3", None),
        ("", None),
    ],
)
def test_the_last_box_is_the_answer_with_its_braces_balanced(response: str, box: str | None) -> None:
    assert last_box(response) == box


balanced = st.recursive(
    st.text(alphabet="ab1 +", max_size=4),
    lambda inner: st.builds(lambda a, b, c: f"{a}{{{b}}}{c}", inner, inner, inner),
    max_leaves=8,
)


@settings(deadline=None)
@given(before=balanced, content=balanced, after=st.text(alphabet="ab{} ", max_size=8))
def test_any_balanced_content_of_the_last_box_is_found(before: str, content: str, after: str) -> None:
    assert last_box(rf"\boxed{{{before}}} but \boxed{{{content}}}{after}") == content.strip()


@settings(deadline=None)
@given(
    number=st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9), max_value=10**9)
)
def test_a_number_equals_itself_in_every_spelling_and_not_its_neighbour(number: object) -> None:
    for spelling in (f"{number}", f"{number:,}", f"{number}00", f"{number}/1", rf"\frac{{{number}}}{{1}}"):
        assert answers_equal(spelling, f"{number}")
    assert not answers_equal(f"{number}1", f"{number}")


@settings(deadline=None, max_examples=300)
@given(
    answer=st.text(alphabet=r"\{}[]()$%/.,:^_-+=*abBex019 ", max_size=14), reference=st.sampled_from("BCD")
)
def test_no_text_in_a_box_raises_where_the_reference_is_a_letter(answer: str, reference: str) -> None:
    assert accuracy_reward(rf"\boxed{{{answer}}}", reference) in (0.0, 1.0)


def test_a_tower_of_powers_is_given_up_in_time_and_has_no_verdict() -> None:
    start = time.process_time()
    with pytest.raises(RewardTimeout, match="got no verdict"):
        answers_equal("9^{9^{9^{9}}}", "7x")
    assert time.process_time() - start < 8.0
    assert answers_equal(r"\sqrt{12}", r"2\sqrt{3}")  # and the next one is compared


def test_mathematics_outside_the_main_thread_raises_and_is_no_silent_zero() -> None:
    caught: list[Exception] = []

    def compare() -> None:
        try:
            answers_equal(r"\sqrt{12}", r"2\sqrt{3}")
        except ValueError as error:
            caught.append(error)

    thread = threading.Thread(target=compare)
    thread.start()
    thread.join(30)
    assert len(caught) == 1
