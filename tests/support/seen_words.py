"""Which tokens of the demo's responses say what is seen in the image, and what depends on it."""

from pgpo_async.demo.scenes import COLOURS, SHAPES

SHAPES_WORDS = frozenset({*COLOURS, *SHAPES, "1", "2", "3", "4"})


def split_dependency(group, words=SHAPES_WORDS):
    """Dependency of the words of its thought that say what is in the image, and of all other tokens."""
    saying, others = [], []
    for pieces, row in zip(group.pieces, group.values.rows["dependency"], strict=True):
        thought = "".join(pieces).find("</think>")
        place = 0
        for piece, value in zip(pieces, row, strict=True):
            says = piece.strip() in words and place < thought
            (saying if says else others).append(float(value))
            place += len(piece)
    return saying, others
