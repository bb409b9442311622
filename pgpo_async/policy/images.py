"""Encoded images to what the vision tower reads: patches, and grids without decoding.

Pure functions on a Hugging Face processor, and `ImageReader`, which remembers. Called by `prompts`; data
preparation uses `decode_image` (from `decoding`, offered here too): the generator sees the same pixels.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import torch
from PIL import Image

from pgpo_async.policy.decoding import decode_image, image_size

__all__ = [
    "Grid",
    "ImageReader",
    "PixelBatch",
    "decode_image",
    "dummy_pixels",
    "image_grid",
    "image_size",
    "patches_of",
    "preprocess",
]

Grid = tuple[int, int, int]
"""An image in patches: frames (1), rows, columns. `merge_size` squared patches make one image token."""


CACHE_BYTES = 256 << 20
"""Patches that an `ImageReader` keeps: ten images of 1280 tokens, some thousand small ones."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PixelBatch:
    """The tower's input: float32 `pixel_values` [patches, 3 x 2 x 14 x 14], int64 `grids` [I, 3]."""

    pixel_values: torch.Tensor
    grids: torch.Tensor


def image_grid(image_processor: Any, data: bytes) -> Grid:
    """The grid that `preprocess` would give, from the header alone (the blind pass needs no pixels)."""
    # Imported here: it loads torchvision, seconds that a driver need not wait.
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

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
    """Patches of one or more encoded images, in order."""
    return patches_of(image_processor, [decode_image(data) for data in images])


def patches_of(image_processor: Any, images: Sequence[Image.Image]) -> PixelBatch:
    """Patches of one or more decoded images, in order."""
    features = image_processor(images=list(images), return_tensors="pt")
    return PixelBatch(pixel_values=features["pixel_values"], grids=features["image_grid_thw"])


class ImageReader:
    """`preprocess` with a memory: the newest patches by content, `cache_bytes` of them on the host.

    An image comes back where a group is cut into several passes, where prompts share it, and every epoch.
    """

    def __init__(self, image_processor: Any, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._image_processor = image_processor
        self._room = cache_bytes
        self._known: OrderedDict[bytes, PixelBatch] = OrderedDict()

    def read(self, images: Sequence[bytes]) -> PixelBatch:
        """Patches of one or more images, in order. Raises ValueError if one cannot be read."""
        keys = [blake2b(data, digest_size=16).digest() for data in images]
        found = {key: self._known[key] for key in keys if key in self._known}
        new = {key: data for key, data in zip(keys, images, strict=True) if key not in found}
        if new:
            found |= zip(new, _each(preprocess(self._image_processor, list(new.values()))), strict=True)
        for key in keys:
            self._keep(key, found[key])
        return PixelBatch(
            pixel_values=torch.cat([found[key].pixel_values for key in keys]),
            grids=torch.cat([found[key].grids for key in keys]),
        )

    def _keep(self, key: bytes, image: PixelBatch) -> None:
        if key in self._known:
            self._known.move_to_end(key)
            return
        self._known[key] = image
        self._room -= image.pixel_values.nbytes
        while self._room < 0:
            _, oldest = self._known.popitem(last=False)
            self._room += oldest.pixel_values.nbytes


def _each(images: PixelBatch) -> list[PixelBatch]:
    sizes = images.grids.prod(dim=1).tolist()
    parts = zip(torch.split(images.pixel_values, sizes), torch.split(images.grids, 1), strict=True)
    # Cloned, so that one kept image does not keep the whole batch.
    return [PixelBatch(pixel_values=pixels.clone(), grids=grids) for pixels, grids in parts]


def dummy_pixels(image_processor: Any) -> PixelBatch:
    """The smallest black image that the tower takes: one image token."""
    merge, patch = image_processor.merge_size, image_processor.patch_size
    patch_numbers = 3 * image_processor.temporal_patch_size * patch * patch
    return PixelBatch(
        pixel_values=torch.zeros(merge * merge, patch_numbers),
        grids=torch.tensor([[1, merge, merge]]),
    )
