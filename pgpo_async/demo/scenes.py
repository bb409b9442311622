"""What the demo's data sets share: figures on a 2 x 2 grid, their drawing, their seeds, their two splits.

Owns the pixels and the form of an example; `shapes` and `objects` own what is placed and what is asked. Numpy
and PIL only.

How the splits are kept apart: the x-coordinates of a scene's figure centres sum to an even number in the
training split and to an odd number in the held-out split. Figures never overlap and are mirror-symmetric
about their centre's column, so that sum can be read off the pixels: no training image can equal a held-out
one, whatever the seeds and indices.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageDraw

Split = Literal["train", "heldout"]
Point = tuple[int, int]
Colour = tuple[int, int, int]
Pick = Callable[[int], int]
"""A seeded draw: `pick(n)` is one of 0 .. n - 1."""

IMAGE_SIDE_PX = 84
COLOURS: dict[str, Colour] = {
    "red": (215, 40, 40),
    "green": (40, 160, 60),
    "blue": (45, 75, 215),
    "yellow": (235, 200, 30),
}
SHAPES = ("circle", "square", "triangle")

_CELL_PX = IMAGE_SIDE_PX // 2
_MIN_RADIUS_PX, _MAX_RADIUS_PX = 11, 16
_MAX_JITTER_PX = 3  # 21 (half a cell) - 16 (radius) - 3 leaves a gap, so that figures never touch
_BACKGROUND_LEVELS = (232, 256)


@dataclass(frozen=True, kw_only=True, slots=True)
class DemoExample:
    r"""One question about one image.

    `example_id` is "<data set>/<split>/<seed>/<index>", `question` the bare question, `answer` what belongs
    in \boxed{}, `image_png` an 84 x 84 RGB image as PNG bytes, `clean_response` a perfect response's text,
    without the end-of-turn token.
    """

    example_id: str
    question: str
    answer: str
    image_png: bytes
    clean_response: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One coloured shape; `radius` and `centre` (x, y) in pixels."""

    colour: str
    shape: str
    radius: int
    centre: Point


def check_place(split: Split, seed: int, index: int) -> None:
    """Raise ValueError for an unknown split or a negative seed or index."""
    if split not in get_args(Split):
        raise ValueError(f"split must be 'train' or 'heldout', got {split!r}")
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index must be at least 0, got seed={seed}, index={index}")


def seeded_pick(split: Split, seed: int, index: int, *more: int, num_words: int) -> Pick:
    """At most `num_words` draws that depend on the other arguments only, the same in every process."""
    entropy = (seed, index, get_args(Split).index(split), *more)
    # SeedSequence's words are fixed by numpy's promise across versions; a Generator's draws are not.
    words = iter(int(word) for word in np.random.SeedSequence(entropy).generate_state(num_words))
    return lambda stop: next(words) % stop


def pick_radius(pick: Pick) -> int:
    """A figure's radius, in pixels."""
    return _MIN_RADIUS_PX + pick(_MAX_RADIUS_PX - _MIN_RADIUS_PX + 1)


def pick_background(pick: Pick) -> Colour:
    """A light colour, unlike each of `COLOURS`."""
    low, high = _BACKGROUND_LEVELS
    return (low + pick(high - low), low + pick(high - low), low + pick(high - low))


def pick_centre(pick: Pick, *, column: int, row: int) -> Point:
    """A point near the middle of a cell of the grid."""
    jitter_x, jitter_y = (pick(2 * _MAX_JITTER_PX + 1) - _MAX_JITTER_PX for _ in range(2))
    return (column * _CELL_PX + 21 + jitter_x, row * _CELL_PX + 21 + jitter_y)


def centres_of_split(centres: Sequence[Point], split: Split) -> tuple[Point, ...]:
    """The centres, the first of them moved by a pixel if their sum is not the split's."""
    wanted_parity = get_args(Split).index(split)
    if sum(x for x, _ in centres) % 2 == wanted_parity:
        return tuple(centres)
    (x, y), *others = centres
    towards_cell_centre = x - 1 if x % _CELL_PX > _CELL_PX // 2 else x + 1
    return ((towards_cell_centre, y), *others)


def render_png(figures: Sequence[Figure], background: Colour) -> bytes:
    """The image of a scene, 84 x 84 RGB, as PNG bytes."""
    image = Image.new("RGB", (IMAGE_SIDE_PX, IMAGE_SIDE_PX), background)
    draw = ImageDraw.Draw(image)
    for figure in figures:
        fill, r, (x, y) = COLOURS[figure.colour], figure.radius, figure.centre
        if figure.shape == "circle":
            draw.ellipse((x - r, y - r, x + r, y + r), fill=fill)
        elif figure.shape == "square":
            draw.rectangle((x - r, y - r, x + r, y + r), fill=fill)
        else:
            draw.polygon(((x, y - r), (x - r, y + r), (x + r, y + r)), fill=fill)
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()
