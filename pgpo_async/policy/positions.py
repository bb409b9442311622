"""Multimodal rotary positions of a prompt, computed without the model.

Owns Qwen2-VL's position rule for still images (text counts up in all three rows; an image's tokens take
frame, row and column, and the text after it goes on from the larger side) and the check that placeholders
fit the images. Pure numpy. Called by `prompts`.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pgpo_async.policy.images import Grid

Positions = npt.NDArray[np.int64]


def rotary_positions(is_image_P: npt.NDArray[np.bool_], grids: Sequence[Grid], merge: int) -> Positions:
    """Frame, row and column positions int64 [3, P] of a prompt whose placeholders are where the mask says.

    Raises ValueError if the runs of placeholders are not, in order, as long as the images' grids require.
    """
    runs = _runs(is_image_P)
    _check_runs([end - start for start, end in runs], grids, merge)
    pieces, at, position = [], 0, 0
    for (start, end), (frames, rows, columns) in zip(runs, grids, strict=True):
        pieces.append(_text(start - at, position))
        position += start - at
        pieces.append(_image(frames, rows // merge, columns // merge) + position)
        position += max(rows, columns) // merge
        at = end
    pieces.append(_text(len(is_image_P) - at, position))
    return np.concatenate(pieces, axis=1)


def next_position(positions_3P: Positions) -> int:
    """Where a response goes on."""
    return int(positions_3P.max()) + 1


def _check_runs(lengths: Sequence[int], grids: Sequence[Grid], merge: int) -> None:
    needed = [frames * rows * columns // merge**2 for frames, rows, columns in grids]
    if list(lengths) != needed:
        raise ValueError(
            f"the prompt's runs of image tokens must be as long as its images need, {needed}, got "
            f"{list(lengths)}: generator and policy must use the same processor, min_pixels and max_pixels"
        )


def _runs(mask: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def _text(length: int, position: int) -> Positions:
    return np.broadcast_to(np.arange(position, position + length), (3, length))


def _image(frames: int, rows: int, columns: int) -> Positions:
    return np.indices((frames, rows, columns)).reshape(3, -1)
