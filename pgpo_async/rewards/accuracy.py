r"""The accuracy reward: 1 if the last \boxed{} equals the reference, else 0 (ALGORITHMS section 3).

Owns the order of the comparisons: cheap and exact ones first, and the first that applies decides, so that
mathematics is asked only about answers that are neither letters, nor numbers, nor words.
"""

from pgpo_async.rewards import symbolic
from pgpo_async.rewards.answer_text import choice_letter, last_box, squeezed, unwrap
from pgpo_async.rewards.quantity import read_quantity


def accuracy_reward(response: str, reference: str) -> float:
    r"""Return 1.0 if what the response boxes equals the reference, 0.0 also for no, open or empty boxes.

    A reference that is itself boxed stands for what is in its box. Raises ValueError where the comparison
    needs mathematics and this is not the main thread.
    """
    boxed = last_box(response)
    return 1.0 if boxed and answers_equal(boxed, reference) else 0.0


def answers_equal(answer: str, reference: str) -> bool:
    """Whether an answer equals the reference as a text, a choice letter, a number, or mathematically."""
    answer, reference = unwrap(answer), unwrap(reference)
    if not answer:
        return False
    if squeezed(answer) == squeezed(reference):
        return True
    # Capitals only: "x" as a reference is a variable, not an option.
    if reference[:2].strip("([")[:1].isupper() and (letter := choice_letter(reference)):
        return choice_letter(answer) == letter
    number, wanted = read_quantity(answer), read_quantity(reference)
    if number is not None and wanted is not None:
        return wanted.equals(number)
    return symbolic.is_mathematical(reference) and symbolic.equal(reference, answer)
