"""The shapes data set: seeded images of 1 to 4 equal shapes, with a question about colour, count or shape.

Owns which scenes there are, how a prompt reads and which answer is right; `scenes` draws. Called by `data` as
a prompt source, by `demo.build` for the warm start, and by tests.

An example is a pure function of (split, seed, index): a data cursor is just the index, and any index can be
read without those before it.
"""

import random
from dataclasses import dataclass
from typing import Literal, get_args

from pgpo_async.demo.scenes import (
    COLOURS,
    SHAPES,
    Colour,
    DemoExample,
    Figure,
    Point,
    Split,
    centres_of_split,
    check_place,
    pick_background,
    pick_centre,
    pick_radius,
    render_png,
    seeded_pick,
)

QuestionKind = Literal["colour", "count", "shape"]

DEMO_SYSTEM_PROMPT = ""
"""Empty: the demo has no system turn, since each prompt token costs time on a small machine."""

DEMO_INSTRUCTION = r"use <think> </think> then \boxed{} ."
"""Appended to each question; the paper's instruction in as few tokens as the tiny model needs."""

MAX_SHAPES = 4
QUESTIONS: dict[QuestionKind, str] = {
    "colour": "what colour are the shapes ?",
    "count": "how many shapes are there ?",
    "shape": "what shape is each one ?",
}
ANSWERS: dict[QuestionKind, tuple[str, ...]] = {
    "colour": tuple(COLOURS),
    "count": tuple(str(count) for count in range(1, MAX_SHAPES + 1)),
    "shape": SHAPES,
}

_KINDS: tuple[QuestionKind, ...] = get_args(QuestionKind)
_THOUGHTS: dict[QuestionKind, str] = {
    "colour": "the shapes in the image are {} .",
    "count": "there are {} shapes in the image .",
    "shape": "each shape in the image is a {} .",
}
_CELLS = ((0, 0), (0, 1), (1, 0), (1, 1))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scene:
    """What is drawn; lengths in pixels, centres as (x, y)."""

    colour: str
    shape: str
    radius: int
    centres: tuple[Point, ...]
    background: Colour


def shapes_example(split: Split, seed: int, index: int) -> DemoExample:
    """The `index`-th example of a split; the same arguments give the same bytes in every process.

    Question kinds alternate with the index, so that any run of three consecutive examples holds each once.
    Raises ValueError for an unknown split or a negative seed or index.
    """
    check_place(split, seed, index)
    kind = _KINDS[index % len(_KINDS)]
    scene = _draw_scene(split, seed, index)
    answer = {"colour": scene.colour, "count": str(len(scene.centres)), "shape": scene.shape}[kind]
    figures = [
        Figure(colour=scene.colour, shape=scene.shape, radius=scene.radius, centre=centre)
        for centre in scene.centres
    ]
    return DemoExample(
        example_id=f"shapes/{split}/{seed}/{index}",
        question=QUESTIONS[kind],
        answer=answer,
        image_png=render_png(figures, scene.background),
        clean_response=response_text(kind, answer),
    )


def user_text(question: str) -> str:
    """The text part of the user turn, which follows the image: the question, then the instruction."""
    return f"{question} {DEMO_INSTRUCTION}"


def response_text(kind: QuestionKind, answer: str) -> str:
    """A well-formed response that states `answer`, right or wrong, in its thought and in its box."""
    return f"<think> {_THOUGHTS[kind].format(answer)} </think> \\boxed{{{answer}}}"


def noisy_response(example: DemoExample, noise: float, generator: random.Random) -> str:
    """With probability `noise` a response that states a random plausible answer, else the clean one."""
    if generator.random() >= noise:
        return example.clean_response
    kind = question_kind(example.question)
    return response_text(kind, generator.choice(ANSWERS[kind]))


def vocabulary_texts() -> list[str]:
    """Every prompt and every response there is."""
    prompts = [user_text(question) for question in QUESTIONS.values()]
    return prompts + [response_text(kind, answer) for kind, answers in ANSWERS.items() for answer in answers]


def question_kind(question: str) -> QuestionKind:
    """Which of the three kinds a question is; raises ValueError for any other text."""
    for kind, text in QUESTIONS.items():
        if text == question:
            return kind
    raise ValueError(f"question must be one of {sorted(QUESTIONS.values())}, got {question!r}")


def _draw_scene(split: Split, seed: int, index: int) -> _Scene:
    pick = seeded_pick(split, seed, index, num_words=24)
    colour = tuple(COLOURS)[pick(len(COLOURS))]
    shape = SHAPES[pick(len(SHAPES))]
    count = 1 + pick(MAX_SHAPES)
    radius = pick_radius(pick)
    background = pick_background(pick)
    cells = list(_CELLS)
    centres = []
    for _ in range(count):
        column, row = cells.pop(pick(len(cells)))
        centres.append(pick_centre(pick, column=column, row=row))
    return _Scene(
        colour=colour,
        shape=shape,
        radius=radius,
        centres=centres_of_split(centres, split),
        background=background,
    )
