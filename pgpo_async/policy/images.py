"""Encoded images to what the vision tower reads: patches, and grids without decoding.

Owns nothing but pure functions on a Hugging Face processor. Called by `inputs`; data preparation uses
`decode_image` (from `decoding`, offered here too), so that the generator sees the same pixels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

from pgpo_async.policy.decoding import decode_image, image_size

__all__ = ["Grid", "PixelBatch", "decode_image", "dummy_pixels", "image_grid", "image_size", "preprocess"]

Grid = tuple[int, int, int]
"""An image in patches: frames (1), rows, columns. `merge_size` squared patches make one image token."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PixelBatch:
    """The tower's input: float32 `pixel_values` [patches, 3 x 2 x 14 x 14], int64 `grids` [I, 3]."""

    pixel_values: torch.Tensor
    grids: torch.Tensor


def image_grid(image_processor: Any, data: bytes) -> Grid:
    """The grid that `preprocess` would give, from the header alone (the blind pass needs no pixels)."""
    width, height = image_size(data)
    patch = image_processor.patch_size
    rows, columns = smart_resize(
        height,
        width,
        factor=patch * image_processor.merge_size,
        min_pixels=image_processor.size["shortest_edge"],
        max_pixels=image_processor.size["longest_edge"],
    )
    return 1, rows // patch, columns // patch


def preprocess(image_processor: Any, images: Sequence[bytes]) -> PixelBatch:
    """Patches of one or more images, in order."""
    features = image_processor(images=[decode_image(data) for data in images], return_tensors="pt")
    return PixelBatch(pixel_values=features["pixel_values"], grids=features["image_grid_thw"])


def dummy_pixels(image_processor: Any) -> PixelBatch:
    """The smallest black image that the tower takes: one image token."""
    merge, patch = image_processor.merge_size, image_processor.patch_size
    patch_numbers = 3 * image_processor.temporal_patch_size * patch * patch
    return PixelBatch(
        pixel_values=torch.zeros(merge * merge, patch_numbers),
        grids=torch.tensor([[1, merge, merge]]),
    )
