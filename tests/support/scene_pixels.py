"""What a demo image shows, read off its pixels without a look at the code that drew it."""

import io

import numpy as np
from PIL import Image

from pgpo_async.demo.scenes import IMAGE_SIDE_PX, DemoExample


def scene_pixels(example: DemoExample) -> np.ndarray:
    """uint8 [84, 84, 3]."""
    image = Image.open(io.BytesIO(example.image_png))
    assert image.size == (IMAGE_SIDE_PX, IMAGE_SIDE_PX)
    assert image.mode == "RGB"
    return np.asarray(image)


def connected_boxes(foreground: np.ndarray) -> list[tuple[int, int, int, int]]:
    """The bounding box (left, top, right, bottom) of each connected part of a [H, W] mask."""
    unseen = {(int(y), int(x)) for y, x in np.argwhere(foreground)}
    boxes = []
    while unseen:
        stack, component = [unseen.pop()], []
        while stack:
            y, x = stack.pop()
            component.append((y, x))
            around = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & unseen
            unseen -= around
            stack.extend(around)
        ys, xs = [y for y, _ in component], [x for _, x in component]
        boxes.append((min(xs), min(ys), max(xs), max(ys)))
    return boxes


def shape_in_box(foreground: np.ndarray, box: tuple[int, int, int, int]) -> str:
    """The name of the shape that fills a box of the mask."""
    left, top, right, bottom = box
    patch = foreground[top : bottom + 1, left : right + 1]
    if patch.all():
        return "square"
    return "triangle" if patch[-1].all() else "circle"
