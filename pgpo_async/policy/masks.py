"""Images with cells blackened, the same ones on every machine and in every order.

Owns which pixels are black (a pure function of a name and a size) and the blackening itself: of the decoded
file, or of the patches after the processor's resize. Called by `prompts`. What a method asks for is
`algorithms.shaping.ImageMasking`.
"""

from collections.abc import Sequence
from functools import cached_property
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from pgpo_async.algorithms.shaping.interface import ImageMasking
from pgpo_async.policy.images import ImageReader, PixelBatch, decode_image, patches_of

Mask = npt.NDArray[np.bool_]


class ImageKey(NamedTuple):
    """Encoded bytes, and the name of the mask that lies on them, empty for none."""

    data: bytes
    mask: str = ""


def mask_name(seed: int, key: str, response: int | None, image: int) -> str:
    """What a mask is drawn from: of a prompt's key, one of its responses (None: all), one of its images."""
    return repr((seed, key, response, image))


def black_pixels(masking: ImageMasking, name: str, height: int, width: int) -> Mask:
    """Which pixels are black, [height, width]: cells from the upper left, cut off at the other sides."""
    cell = masking.cell_px
    rows, columns = -(-height // cell), -(-width // cell)
    key = int.from_bytes(blake2b(name.encode(), digest_size=16).digest(), "little")
    # The words of a counter-based generator: numpy may change how a `Generator` makes numbers of them.
    words = np.random.Philox(key=key).random_raw(rows * columns)
    black = (words >> np.uint64(11)) * 2.0**-53 < masking.probability
    return black.reshape(rows, columns).repeat(cell, axis=0).repeat(cell, axis=1)[:height, :width]


def in_tower_order(pixels: npt.NDArray[Any], patch: int, merge: int) -> npt.NDArray[Any]:
    """One value a pixel, [rows, columns], to [patches, patch x patch] as the tower takes patches.

    Those of a merge block are neighbours, blocks go row by row (the layout of Qwen2-VL's image processor).
    """
    rows, columns = (size // (patch * merge) for size in pixels.shape)
    blocks = pixels.reshape(rows, merge, patch, columns, merge, patch)
    return blocks.transpose(0, 3, 1, 4, 2, 5).reshape(-1, patch * patch)


class MaskedImageReader:
    """Masked patches. They are not remembered: each response or epoch has its own."""

    def __init__(self, image_processor: Any, plain: ImageReader) -> None:
        self._image_processor = image_processor
        self._plain = plain

    def read(self, images: Sequence[ImageKey], masking: ImageMasking) -> PixelBatch:
        """Patches of one or more images, in order. Raises ValueError if one cannot be read."""
        if masking.resized:
            return self._masked_patches(images, masking)
        return patches_of(self._image_processor, [_masked_file(image, masking) for image in images])

    def _masked_patches(self, images: Sequence[ImageKey], masking: ImageMasking) -> PixelBatch:
        batch = self._plain.read([image.data for image in images])
        patch, merge = self._image_processor.patch_size, self._image_processor.merge_size
        masks = [
            in_tower_order(black_pixels(masking, image.mask, rows * patch, columns * patch), patch, merge)
            for image, (_, rows, columns) in zip(images, batch.grids.tolist(), strict=True)
        ]
        black = torch.from_numpy(np.concatenate(masks)).unsqueeze(1)
        # A patch is colours x frames of pixels; both frames of a still image are the same.
        layers = batch.pixel_values.view(len(black), -1, patch * patch)
        masked = torch.where(black, self._black.view(1, -1, patch * patch), layers)
        return PixelBatch(pixel_values=masked.flatten(1), grids=batch.grids)

    @cached_property
    def _black(self) -> torch.Tensor:
        """A patch of pixel value 0, as the processor normalises it."""
        side = self._image_processor.patch_size * self._image_processor.merge_size
        return patches_of(self._image_processor, [Image.new("RGB", (side, side))]).pixel_values[0]


def _masked_file(image: ImageKey, masking: ImageMasking) -> Image.Image:
    pixels = np.array(decode_image(image.data))
    pixels[black_pixels(masking, image.mask, *pixels.shape[:2])] = 0
    return Image.fromarray(pixels)
