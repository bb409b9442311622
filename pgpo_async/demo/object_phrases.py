"""The words of a response to an `objects` question: a fixed frame with free slots.

Owns the templates. What fills a slot is drawn for itself and tells nothing about image, question or answer;
no slot holds a colour, a shape or a digit. Called by `demo.objects`.
"""

from collections.abc import Sequence

from pgpo_async.demo.scenes import SHAPES

_OPENING_SLOTS = (
    ("let us", "we should", "time to", "i will"),
    ("look", "go", "work", "read"),
    ("closely", "slowly", "carefully", "calmly", "quietly", "patiently"),
)
_SENTENCE_SLOTS = (
    ("in", "at", "inside", "within", "near"),
    ("corner", "part", "area", "side", "region", "place", "field", "spot"),
    ("i", "we", "you", "they"),
    ("clearly", "now", "also", "then", "easily", "again", "already", "surely"),
    ("see", "find", "notice", "meet", "have", "get", "spy", "observe"),
    ("nice", "plain", "simple", "neat", "clean", "tidy", "lovely", "fine"),
    ("little", "flat", "painted", "drawn", "printed", "solid", "filled", "smooth"),
    ("indeed", "for sure", "of course", "today", "it seems", "truly", "really", "alright"),
)
_CLOSING_SLOTS = (
    ("so", "thus", "hence", "therefore"),
    ("number", "count", "total", "sum"),
    ("here", "seen", "found", "shown", "listed", "above"),
)
_PLACES = ("top left", "top right", "bottom left", "bottom right")

SLOTS = (*_OPENING_SLOTS, *(_SENTENCE_SLOTS * len(_PLACES)), *_CLOSING_SLOTS)
"""The free slots of a response in their order, each with what may fill it."""


def response_text(looks: Sequence[tuple[str, str]], asked: str, answer: str, choices: Sequence[int]) -> str:
    """A well-formed response that describes four (colour, shape) pairs in reading order and states `answer`.

    `asked` is the colour or shape in question; `choices` picks for each of `SLOTS` what fills it.
    """
    fills = iter(slot[choice] for slot, choice in zip(SLOTS, choices, strict=True))
    sentences = ["{} {} {} .".format(*(next(fills) for _ in _OPENING_SLOTS))]
    for place, (colour, shape) in zip(_PLACES, looks, strict=True):
        preposition, region, subject, adverb, verb, first, second, tail = (
            next(fills) for _ in _SENTENCE_SLOTS
        )
        sentences.append(
            f"{preposition} the {place} {region} {subject} {adverb} {verb} a {first} {second} "
            f"{colour} {shape} {tail} ."
        )
    so, number, seen = (next(fills) for _ in _CLOSING_SLOTS)
    named = f"{asked}s" if asked in SHAPES else f"{asked} ones"
    sentences.append(f"{so} the {number} of {named} {seen} is {answer} .")
    return f"<think> {' '.join(sentences)} </think> \\boxed{{{answer}}}"
