"""The shapes data set: seeded images of 1 to 4 equal shapes, with a question about colour, count or shape.

Owns what a scene is, how it is drawn, how its prompt reads and which answer is right. Numpy and PIL only.
Called by `data` as a prompt source, by `demo.build` for the warm start, and by tests.

An example is a pure function of (split, seed, index): a data cursor is just the index, and any index can be
read without those before it.

How the splits are kept apart: the x-coordinates of a scene's shape centres sum to an even number in the
training split and to an odd number in the held-out split. Shapes never overlap and are mirror-symmetric about
their centre's column, so that sum can be read off the pixels: no training image can equal a held-out one,
whatever the seeds and indices.
"""

import io
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageDraw

Split = Literal["train", "heldout"]
QuestionKind = Literal["colour", "count", "shape"]

DEMO_SYSTEM_PROMPT = ""
"""Empty: the demo has no system turn, since each prompt token costs time on a small machine."""

DEMO_INSTRUCTION = r"use <think> </think> then \boxed{} ."
"""Appended to each question; the paper's instruction in as few tokens as the tiny model needs."""

IMAGE_SIDE_PX = 84
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (215, 40, 40),
    "green": (40, 160, 60),
    "blue": (45, 75, 215),
    "yellow": (235, 200, 30),
}
SHAPES = ("circle", "square", "triangle")
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
_CELL_PX = IMAGE_SIDE_PX // 2
_MIN_RADIUS_PX, _MAX_RADIUS_PX = 11, 16
_MAX_JITTER_PX = 3  # 21 (half a cell) - 16 (radius) - 3 leaves a gap, so that shapes never touch
_BACKGROUND_LEVELS = (232, 256)


@dataclass(frozen=True, kw_only=True, slots=True)
class ShapesExample:
    r"""One question about one image.

    `example_id` is "shapes/<split>/<seed>/<index>", `question` the bare question, `answer` what belongs in
    \boxed{}, `image_png` an 84 x 84 RGB image as PNG bytes, `clean_response` a perfect response's text,
    without the end-of-turn token.
    """

    example_id: str
    question: str
    answer: str
    image_png: bytes
    clean_response: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scene:
    """What is drawn; lengths in pixels, centres as (x, y)."""

    colour: str
    shape: str
    radius: int
    centres: tuple[tuple[int, int], ...]
    background: tuple[int, int, int]


def shapes_example(split: Split, seed: int, index: int) -> ShapesExample:
    """The `index`-th example of a split; the same arguments give the same bytes in every process.

    Question kinds alternate with the index, so that any run of three consecutive examples holds each once.
    Raises ValueError for an unknown split or a negative seed or index.
    """
    if split not in get_args(Split):
        raise ValueError(f"split must be 'train' or 'heldout', got {split!r}")
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index must be at least 0, got seed={seed}, index={index}")
    kind = _KINDS[index % len(_KINDS)]
    scene = _draw_scene(split, seed, index)
    answer = {"colour": scene.colour, "count": str(len(scene.centres)), "shape": scene.shape}[kind]
    return ShapesExample(
        example_id=f"shapes/{split}/{seed}/{index}",
        question=QUESTIONS[kind],
        answer=answer,
        image_png=_render_png(scene),
        clean_response=response_text(kind, answer),
    )


def user_text(question: str) -> str:
    """The text part of the user turn, which follows the image: the question, then the instruction."""
    return f"{question} {DEMO_INSTRUCTION}"


def response_text(kind: QuestionKind, answer: str) -> str:
    """A well-formed response that states `answer`, right or wrong, in its thought and in its box."""
    return f"<think> {_THOUGHTS[kind].format(answer)} </think> \\boxed{{{answer}}}"


def question_kind(question: str) -> QuestionKind:
    """Which of the three kinds a question is; raises ValueError for any other text."""
    for kind, text in QUESTIONS.items():
        if text == question:
            return kind
    raise ValueError(f"question must be one of {sorted(QUESTIONS.values())}, got {question!r}")


def _draw_scene(split: Split, seed: int, index: int) -> _Scene:
    # SeedSequence's words are fixed by numpy's promise across versions; a Generator's draws are not.
    words = np.random.SeedSequence((seed, index, get_args(Split).index(split))).generate_state(24)
    draws = iter(int(word) for word in words)

    def pick(stop: int) -> int:
        return next(draws) % stop

    colour = tuple(COLOURS)[pick(len(COLOURS))]
    shape = SHAPES[pick(len(SHAPES))]
    count = 1 + pick(MAX_SHAPES)
    radius = _MIN_RADIUS_PX + pick(_MAX_RADIUS_PX - _MIN_RADIUS_PX + 1)
    low, high = _BACKGROUND_LEVELS
    background = (low + pick(high - low), low + pick(high - low), low + pick(high - low))
    cells = [(0, 0), (0, 1), (1, 0), (1, 1)]
    centres = []
    for _ in range(count):
        column, row = cells.pop(pick(len(cells)))
        jitter_x, jitter_y = (pick(2 * _MAX_JITTER_PX + 1) - _MAX_JITTER_PX for _ in range(2))
        centres.append((column * _CELL_PX + 21 + jitter_x, row * _CELL_PX + 21 + jitter_y))
    wanted_parity = get_args(Split).index(split)
    if sum(x for x, _ in centres) % 2 != wanted_parity:
        centres[0] = (_towards_cell_centre(centres[0][0]), centres[0][1])
    return _Scene(colour=colour, shape=shape, radius=radius, centres=tuple(centres), background=background)


def _towards_cell_centre(x: int) -> int:
    return x - 1 if x % _CELL_PX > _CELL_PX // 2 else x + 1


def _render_png(scene: _Scene) -> bytes:
    image = Image.new("RGB", (IMAGE_SIDE_PX, IMAGE_SIDE_PX), scene.background)
    draw = ImageDraw.Draw(image)
    fill, r = COLOURS[scene.colour], scene.radius
    for x, y in scene.centres:
        if scene.shape == "circle":
            draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)
        elif scene.shape == "square":
            draw.rectangle((x - r, y - r, x + r, y + r), fill=fill)
        else:
            draw.polygon(((x, y - r), (x - r, y + r), (x + r, y + r)), fill=fill)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
