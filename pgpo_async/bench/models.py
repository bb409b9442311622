"""Models with random weights, and groups of prompts and responses for them.

Owns the sizes that the benchmarks are run at. Called by `policy`.
"""

import copy
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from pgpo_async.contracts.rollouts import Int32Array
from pgpo_async.demo.tokenizer import build_processor
from pgpo_async.policy.inputs import Collator, PromptGroup
from pgpo_async.policy.loading import policy_of
from pgpo_async.policy.model import PolicyModel

PATCH, MERGE = 14, 2
IMAGE_GRIDS = {300: (15, 20), 1280: (32, 40)}
"""Rows and columns of image tokens, by their number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dimensions:
    """Of a Qwen2.5-VL; a head has 64 or 128 numbers in the text model and 80 in the tower."""

    name: str
    hidden: int
    layers: int
    heads: int
    key_heads: int
    intermediate: int
    vocabulary: int
    vision_hidden: int
    vision_depth: int
    vision_heads: int
    vision_intermediate: int
    full_attention_blocks: tuple[int, ...]


THREE_B = Dimensions(
    name="Qwen2.5-VL-3B",
    hidden=2048,
    layers=36,
    heads=16,
    key_heads=2,
    intermediate=11008,
    vocabulary=151_936,
    vision_hidden=1280,
    vision_depth=32,
    vision_heads=16,
    vision_intermediate=3420,
    full_attention_blocks=(7, 15, 23, 31),
)
THREE_B_LIKE = Dimensions(
    name="a quarter of 3B in depth and width",
    hidden=512,
    layers=9,
    heads=8,
    key_heads=2,
    intermediate=2752,
    # The head's share of a token's work is 3B's.
    vocabulary=151_936 // 16,
    vision_hidden=320,
    vision_depth=8,
    vision_heads=4,
    vision_intermediate=856,
    full_attention_blocks=(7,),
)
TINY = Dimensions(
    name="the demo's model",
    hidden=128,
    layers=4,
    heads=4,
    key_heads=2,
    intermediate=256,
    vocabulary=400,
    vision_hidden=64,
    vision_depth=2,
    vision_heads=4,
    vision_intermediate=128,
    full_attention_blocks=(1,),
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BenchModel:
    """A policy and what makes its inputs."""

    policy: PolicyModel
    stock: Any
    """The same weights in transformers' own model, untouched."""
    collator: Collator
    processor: Any


def random_model(
    dimensions: Dimensions, *, dtype: torch.dtype, device: torch.device, attention: Any = "auto"
) -> BenchModel:
    """A model of some size with random weights, and the demo's tokenizer (its ids are all below 400)."""
    processor = build_processor()
    token_id = processor.tokenizer.convert_tokens_to_ids
    head_dim = dimensions.hidden // dimensions.heads
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": dimensions.vocabulary,
            "hidden_size": dimensions.hidden,
            "intermediate_size": dimensions.intermediate,
            "num_hidden_layers": dimensions.layers,
            "num_attention_heads": dimensions.heads,
            "num_key_value_heads": dimensions.key_heads,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1e6,
                "mrope_section": [head_dim // 8, 3 * head_dim // 16, 3 * head_dim // 16],
            },
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": 2,
            "pad_token_id": 0,
        },
        vision_config={
            "depth": dimensions.vision_depth,
            "hidden_size": dimensions.vision_hidden,
            "num_heads": dimensions.vision_heads,
            "intermediate_size": dimensions.vision_intermediate,
            "out_hidden_size": dimensions.hidden,
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "window_size": 112,
            "fullatt_block_indexes": list(dimensions.full_attention_blocks),
        },
        tie_word_embeddings=True,
        image_token_id=token_id("<|image_pad|>"),
        video_token_id=token_id("<|video_pad|>"),
        vision_start_token_id=token_id("<|vision_start|>"),
        vision_end_token_id=token_id("<|vision_end|>"),
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = Qwen2_5_VLForConditionalGeneration(config).to(dtype)
    stock = copy.deepcopy(model).eval()
    policy = policy_of(model, attention=attention).to(device).eval()
    processor.image_processor.size = type(processor.image_processor.size)(
        shortest_edge=1, longest_edge=1 << 24
    )
    return BenchModel(policy=policy, stock=stock, collator=Collator(processor, config), processor=processor)


def random_group(
    model: BenchModel, *, image_tokens: int, text_tokens: int, responses: Sequence[int], seed: int = 0
) -> PromptGroup:
    """A prompt with one image of noise among random text, and random responses."""
    random = np.random.default_rng(seed)
    rows, columns = IMAGE_GRIDS[image_tokens]
    side = PATCH * MERGE
    pixels = random.integers(0, 256, (rows * side, columns * side, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    image_token = model.policy.config.image_token_id

    def text(size: int) -> Int32Array:
        return random.integers(100, 400, size).astype(np.int32)

    before = text_tokens // 2
    prompt = np.concatenate([text(before), np.full(image_tokens, image_token), text(text_tokens - before)])
    return PromptGroup(
        prompt_token_ids=prompt.astype(np.int32),
        responses=tuple(text(size) for size in responses),
        images=(buffer.getvalue(),),
    )
