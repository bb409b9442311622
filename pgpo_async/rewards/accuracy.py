r"""The accuracy reward: 1 if the last \boxed{} equals the reference, else 0 (ALGORITHMS section 3).

Owns the order of the comparisons: cheap and exact ones first, and the first that applies decides, so that
mathematics is asked only about answers that are neither letters, nor numbers, nor words.
"""

from pgpo_async.rewards import symbolic
from pgpo_async.rewards.answer_text import choice_letters, last_box, option_text, squeezed, unwrap
from pgpo_async.rewards.quantity import Quantity, read_quantity
from pgpo_async.rewards.recent import RecentVerdicts
from pgpo_async.rewards.units import Unit, split_unit


def accuracy_reward(
    response: str, reference: str, *, tolerance: float = 0.0, recent: RecentVerdicts | None = None
) -> float:
    r"""Return 1.0 if what the response boxes equals the reference, 0.0 also for no, open or empty boxes.

    A reference that is itself boxed stands for what is in its box; `tolerance` is `answers_equal`'s. `recent`
    holds verdicts of one tolerance, by what the box holds: responses that end in the same answer are compared
    once, however they got there. Raises RewardTimeout where a comparison does not end, ValueError where it
    needs mathematics and this is not the main thread; neither is held.
    """
    boxed = last_box(response)
    if not boxed:
        return 0.0
    if recent is not None and (known := recent.get(boxed, reference)) is not None:
        return known
    verdict = 1.0 if answers_equal(boxed, reference, tolerance=tolerance) else 0.0
    if recent is not None:
        recent.put(boxed, reference, verdict)
    return verdict


def answers_equal(answer: str, reference: str, *, tolerance: float = 0.0) -> bool:
    """Whether an answer equals the reference as a text, a choice, a number, or mathematically.

    A number may differ by a share `tolerance` of the reference; its unit may be missing on either side.
    Raises as `accuracy_reward`.
    """
    answer, reference = unwrap(answer), unwrap(reference)
    if not answer:
        return False
    if squeezed(answer) == squeezed(reference):
        return True
    # Capitals only: "x" as a reference is a variable, not an option.
    if reference.lstrip("([ ")[:1].isupper() and (letters := choice_letters(reference)):
        chosen, text = choice_letters(answer), option_text(reference)
        if chosen or not text:
            return chosen == letters
        return answers_equal(answer, text, tolerance=tolerance)
    return _values_equal(*split_unit(answer), *split_unit(reference), tolerance)


def _values_equal(
    answer: str, unit: Unit | None, reference: str, wanted_unit: Unit | None, tolerance: float
) -> bool:
    number, wanted = read_quantity(answer), read_quantity(reference)
    if unit is not None and wanted_unit is not None:
        if unit.dimension != wanted_unit.dimension:
            return False
        if unit.size != wanted_unit.size:
            if number is None or wanted is None:
                return False
            number = Quantity(value=number.value * unit.size / wanted_unit.size, percent=number.percent)
    if number is not None and wanted is not None:
        return wanted.equals(number, tolerance=tolerance)
    return symbolic.is_mathematical(reference) and symbolic.equal(reference, answer, tolerance=tolerance)
