"""What kind of answer a reference is, to the accuracy reward. Called by the check of a data set."""

from pgpo_async.rewards import symbolic
from pgpo_async.rewards.answer_text import choice_letters, last_box, unwrap
from pgpo_async.rewards.quantity import read_quantity
from pgpo_async.rewards.units import split_unit

KINDS = ("choice", "several choices", "yes or no", "number", "number with a unit", "mathematics", "text")


def answer_kind(reference: str) -> str:
    """Return one of `KINDS`; a text is compared word for word."""
    text = unwrap(last_box(reference) or reference)
    if text[:1].isupper() and (letters := choice_letters(text)):
        return "choice" if len(letters) == 1 else "several choices"
    if text.casefold() in ("yes", "no", "true", "false"):
        return "yes or no"
    bare, unit = split_unit(text)
    if read_quantity(bare) is not None:
        return "number" if unit is None else "number with a unit"
    return "mathematics" if symbolic.is_mathematical(text) else "text"
