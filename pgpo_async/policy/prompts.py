"""Distinct prompts of a batch as the model will see them: checked, positioned, in one of the views.

Owns what depends on the prompt alone, and that each distinct image is there once for all its prompts. Called
by `inputs`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from pgpo_async.policy.groups import PromptGroup
from pgpo_async.policy.images import Grid, ImageReader, PixelBatch, image_grid
from pgpo_async.policy.masks import ImageKey, MaskedImageReader, mask_name
from pgpo_async.policy.positions import next_position, rotary_positions
from pgpo_async.policy.views import Look, VisionTokens

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ModelPrompt:
    """A prompt's p tokens that go into the model: all P, or fewer in a view that hides its images.

    `positions` int64 [3, p] are those of the whole prompt, and so is `next_position`, where responses go on;
    in the view `no_image` those of the p tokens alone. Token `image_places[m]` takes row `image_rows[m]` of
    the tower's output over the batch's distinct images.
    """

    token_ids: Int64Array
    positions: Int64Array
    next_position: int
    image_places: Int64Array
    image_rows: Int64Array


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Images:
    """Distinct images: grid and first row of the tower's output; one image under two masks is two."""

    grids: dict[ImageKey, Grid]
    first_rows: dict[ImageKey, int]
    pixels: PixelBatch | None


class PromptReader:
    """Reads prompts for one model (its Hugging Face config) and one processor."""

    def __init__(self, processor: Any, config: Any) -> None:
        self.image_processor = processor.image_processor
        self.tokens = VisionTokens.of(config)
        self._images = ImageReader(processor.image_processor)
        self._masked_images = MaskedImageReader(processor.image_processor, self._images)
        self._merge = int(config.vision_config.spatial_merge_size)

    def read(self, groups: Sequence[PromptGroup], look: Look) -> tuple[list[ModelPrompt], PixelBatch | None]:
        """Each group's prompt and the pixels of all distinct images.

        Pixels are None if the view shows none or no prompt has an image. Raises ValueError, see `Collator`.
        """
        keys = [_image_keys(group, look) for group in groups]
        images = self._read_images([key for each in keys for key in each], look)
        prompts = [self._read_prompt(*one, images, look) for one in zip(groups, keys, strict=True)]
        return prompts, images.pixels

    def _read_images(self, keys: Sequence[ImageKey], look: Look) -> _Images:
        distinct = list(dict.fromkeys(keys))
        pixels = self._read_pixels(distinct, look) if distinct and look.shows_images else None
        if pixels is not None:
            grids = [(int(t), int(h), int(w)) for t, h, w in pixels.grids.tolist()]
        else:
            grids = [image_grid(self.image_processor, key.data) for key in distinct]
        num_rows = [t * h * w // self._merge**2 for t, h, w in grids]
        starts = accumulate(num_rows[:-1], initial=0)
        return _Images(
            grids=dict(zip(distinct, grids, strict=True)),
            first_rows=dict(zip(distinct, starts, strict=False)),
            pixels=pixels,
        )

    def _read_pixels(self, keys: Sequence[ImageKey], look: Look) -> PixelBatch:
        if look.mask is None:
            return self._images.read([key.data for key in keys])
        return self._masked_images.read(keys, look.mask)

    def _read_prompt(
        self, group: PromptGroup, keys: Sequence[ImageKey], images: _Images, look: Look
    ) -> ModelPrompt:
        token_ids = group.prompt_token_ids.astype(np.int64)
        if (token_ids == self.tokens.video).any():
            raise ValueError(f"prompts must not hold video tokens ({self.tokens.video}), got some")
        is_image = token_ids == self.tokens.image
        if is_image[-1]:
            raise ValueError("prompts must end with a text token, got an image token last")
        # In every view: it checks that images and placeholders fit.
        positions = rotary_positions(is_image, [images.grids[key] for key in keys], self._merge)
        keep = self.tokens.kept(token_ids, look.view)
        if look.view == "no_image":
            if not keep.any():
                raise ValueError("prompts must hold text besides their images, got none")
            positions = np.broadcast_to(keep.cumsum() - 1, positions.shape)
        places = rows = np.empty(0, np.int64)
        if look.shows_images:
            places, rows = np.flatnonzero(is_image), self._rows(keys, images)
        return ModelPrompt(
            token_ids=token_ids[keep],
            positions=positions[:, keep],
            next_position=next_position(positions),
            image_places=places,
            image_rows=rows,
        )

    def _rows(self, keys: Sequence[ImageKey], images: _Images) -> Int64Array:
        pieces = [np.empty(0, np.int64)]
        for key in keys:
            frames, height, width = images.grids[key]
            first = images.first_rows[key]
            pieces.append(np.arange(first, first + frames * height * width // self._merge**2))
        return np.concatenate(pieces)


def _image_keys(group: PromptGroup, look: Look) -> list[ImageKey]:
    if look.mask is None:
        return [ImageKey(data) for data in group.images]
    response = None
    if look.mask.per_response:
        assert len(group.responses) <= 1, "responses with masks of their own must come one at a time"
        response = next(iter(group.response_numbers), None)
    names = (mask_name(look.seed, group.key, response, number) for number in range(len(group.images)))
    return [ImageKey(data, name) for data, name in zip(group.images, names, strict=True)]
