"""Distinct prompts of a batch as the model will see them: checked, positioned, blind or sighted.

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
from pgpo_async.policy.positions import next_position, rotary_positions

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ModelPrompt:
    """A prompt's p tokens that go into the model: all P if sighted, the text tokens if blind.

    `positions` int64 [3, p] are those of the whole prompt, and so is `next_position`, where responses go on.
    Token `image_places[m]` takes row `image_rows[m]` of the tower's output over the batch's distinct images.
    """

    token_ids: Int64Array
    positions: Int64Array
    next_position: int
    image_places: Int64Array
    image_rows: Int64Array


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Images:
    """Distinct images: grid and first row of the tower's output by encoded bytes."""

    grids: dict[bytes, Grid]
    first_rows: dict[bytes, int]
    pixels: PixelBatch | None


class PromptReader:
    """Reads prompts for one model (its Hugging Face config) and one processor."""

    def __init__(self, processor: Any, config: Any) -> None:
        self.image_processor = processor.image_processor
        self._images = ImageReader(processor.image_processor)
        self.placeholders = (int(config.image_token_id), int(config.video_token_id))
        self._merge = int(config.vision_config.spatial_merge_size)

    def read(
        self, groups: Sequence[PromptGroup], *, blind: bool
    ) -> tuple[list[ModelPrompt], PixelBatch | None]:
        """Each group's prompt and the pixels of all distinct images.

        Pixels are None if blind or without images. Raises ValueError, see `Collator`.
        """
        images = self._read_images(groups, blind=blind)
        return [self._read_prompt(group, images, blind=blind) for group in groups], images.pixels

    def _read_images(self, groups: Sequence[PromptGroup], *, blind: bool) -> _Images:
        distinct = list(dict.fromkeys(data for group in groups for data in group.images))
        pixels = self._images.read(distinct) if distinct and not blind else None
        if pixels is not None:
            grids = [(int(t), int(h), int(w)) for t, h, w in pixels.grids.tolist()]
        else:
            grids = [image_grid(self.image_processor, data) for data in distinct]
        num_rows = [t * h * w // self._merge**2 for t, h, w in grids]
        starts = accumulate(num_rows[:-1], initial=0)
        return _Images(
            grids=dict(zip(distinct, grids, strict=True)),
            first_rows=dict(zip(distinct, starts, strict=False)),
            pixels=pixels,
        )

    def _read_prompt(self, group: PromptGroup, images: _Images, *, blind: bool) -> ModelPrompt:
        token_ids = group.prompt_token_ids.astype(np.int64)
        image_token, video_token = self.placeholders
        if (token_ids == video_token).any():
            raise ValueError(f"prompts must not hold video tokens ({video_token}), got some")
        is_image = token_ids == image_token
        if is_image[-1]:
            raise ValueError("prompts must end with a text token, got an image token last")
        positions = rotary_positions(is_image, [images.grids[data] for data in group.images], self._merge)
        if blind:
            places = rows = np.empty(0, np.int64)
            keep = ~is_image
        else:
            places, rows = np.flatnonzero(is_image), self._rows(group.images, images)
            keep = np.full(len(token_ids), True)
        return ModelPrompt(
            token_ids=token_ids[keep],
            positions=positions[:, keep],
            next_position=next_position(positions),
            image_places=places,
            image_rows=rows,
        )

    def _rows(self, names: tuple[bytes, ...], images: _Images) -> Int64Array:
        pieces = [np.empty(0, np.int64)]
        for name in names:
            frames, height, width = images.grids[name]
            first = images.first_rows[name]
            pieces.append(np.arange(first, first + frames * height * width // self._merge**2))
        return np.concatenate(pieces)
