"""The objects data set: four unlike objects an image, and a question about how many share a look.

Made to tell credit assignment apart: a response is long and almost all of it is free paraphrase, so that a
uniform credit is spread over words that neither image nor answer decide. Owns which scenes there are, the
noise of the warm start and which answer is right; `scenes` draws, `object_phrases` writes. Called by `data`,
by `demo.build` and by tests.

An example is a pure function of (split, seed, index), as in `shapes`.
"""

import random
import re

from pgpo_async.demo.object_phrases import SLOTS, response_text
from pgpo_async.demo.scenes import (
    COLOURS,
    SHAPES,
    DemoExample,
    Figure,
    Pick,
    Split,
    centres_of_split,
    check_place,
    pick_background,
    pick_centre,
    pick_radius,
    render_png,
    seeded_pick,
)
from pgpo_async.demo.shapes import user_text

NUM_OBJECTS = 4
ANSWERS = tuple(str(count) for count in range(NUM_OBJECTS + 1))
QUESTIONS = {
    **{f"how many are {colour} ?": colour for colour in COLOURS},
    **{f"how many are {shape}s ?": shape for shape in SHAPES},
}
"""Each question with the colour or shape that it asks about."""

_CELLS = ((0, 0), (1, 0), (0, 1), (1, 1))  # (column, row), in reading order
_OWN_STREAM = 1  # keeps the draws apart from those of `shapes`
_NUM_WORDS = 96
_DESCRIBED = re.compile(rf"\b({'|'.join(COLOURS)}) ({'|'.join(SHAPES)})\b")


def objects_example(split: Split, seed: int, index: int) -> DemoExample:
    """The `index`-th example of a split; the same arguments give the same bytes in every process.

    Questions about colours and about shapes alternate with the index; each count from 0 to 4 is as likely.
    Raises ValueError for an unknown split or a negative seed or index.
    """
    check_place(split, seed, index)
    pick = seeded_pick(split, seed, index, _OWN_STREAM, num_words=_NUM_WORDS)
    values = tuple(COLOURS) if index % 2 == 0 else SHAPES
    asked = values[pick(len(values))]
    looks = _pick_looks(pick, asked)
    background = pick_background(pick)
    centres = [pick_centre(pick, column=column, row=row) for column, row in _CELLS]
    figures = [
        Figure(colour=colour, shape=shape, radius=pick_radius(pick), centre=centre)
        for (colour, shape), centre in zip(looks, centres_of_split(centres, split), strict=True)
    ]
    choices = tuple(pick(len(slot)) for slot in SLOTS)
    answer = str(count_of(looks, asked))
    return DemoExample(
        example_id=f"objects/{split}/{seed}/{index}",
        question=next(question for question, value in QUESTIONS.items() if value == asked),
        answer=answer,
        image_png=render_png(figures, background),
        clean_response=response_text(looks, asked, answer, choices),
    )


def asked_value(question: str) -> str:
    """The colour or shape that a question asks about; raises ValueError for any other text."""
    if question not in QUESTIONS:
        raise ValueError(f"question must be one of {sorted(QUESTIONS)}, got {question!r}")
    return QUESTIONS[question]


def count_of(looks: list[tuple[str, str]], asked: str) -> int:
    """How many (colour, shape) pairs hold a colour or a shape."""
    return sum(asked in look for look in looks)


def described_looks(response: str) -> list[tuple[str, str]]:
    """The (colour, shape) pairs that a response describes, in its order."""
    return _DESCRIBED.findall(response)


def noisy_response(example: DemoExample, noise: float, generator: random.Random) -> str:
    """The clean response with a share of its colours and shapes drawn anew, and the count that follows.

    Each of the eight words is replaced with probability `noise`, by any of its kind, itself included. The
    paraphrases stay, and the count is right for what is described.
    """

    def word(own: str, values: tuple[str, ...]) -> str:
        return generator.choice(values) if generator.random() < noise else own

    described = _DESCRIBED.sub(
        lambda look: f"{word(look[1], tuple(COLOURS))} {word(look[2], SHAPES)}", example.clean_response
    )
    count = count_of(described_looks(described), asked_value(example.question))
    return re.sub(r"\d", str(count), described)  # no digit but the answer, stated twice


def vocabulary_texts() -> list[str]:
    """Texts that hold every word of prompts and responses."""
    prompts = [user_text(question) for question in QUESTIONS]
    looks = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    responses = []
    for row in range(max(len(slot) for slot in SLOTS)):
        choices = tuple(row % len(slot) for slot in SLOTS)
        answer = ANSWERS[row % len(ANSWERS)]
        for start, asked in enumerate(QUESTIONS.values()):
            shown = [looks[(start + row + i) % len(looks)] for i in range(NUM_OBJECTS)]
            responses.append(response_text(shown, asked, answer, choices))
    return prompts + responses


def _pick_looks(pick: Pick, asked: str) -> list[tuple[str, str]]:
    """Four (colour, shape) pairs; how many hold `asked` is drawn first, then which."""
    count = pick(NUM_OBJECTS + 1)
    others = list(range(NUM_OBJECTS))
    chosen = {others.pop(pick(len(others))) for _ in range(count)}

    def value(values: tuple[str, ...], place: int) -> str:
        if asked not in values:
            return values[pick(len(values))]
        if place in chosen:
            return asked
        rest = [other for other in values if other != asked]
        return rest[pick(len(rest))]

    return [(value(tuple(COLOURS), place), value(SHAPES, place)) for place in range(NUM_OBJECTS)]
