"""The tiny Qwen2.5-VL: the real architecture with every dimension small, about 0.75 M parameters.

Owns the configuration and the random initial weights. Called by `demo.build`.
"""

from typing import Any

import torch
from transformers import GenerationConfig, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from pgpo_async.demo.tokenizer import END_OF_TURN_TOKEN, MAX_POSITIONS, PAD_TOKEN

_HIDDEN = 128
# About 1 / sqrt(width). With Qwen's 0.02, made for large widths, it takes several times as long to see.
_INITIALIZER_RANGE = 0.08


def build_model(tokenizer: Any, *, seed: int) -> Any:
    """A `Qwen2_5_VLForConditionalGeneration` in float32 with random weights that depend on `seed` only.

    Its token ids are `tokenizer`'s; generation stops at the end of the turn.
    """
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(model_config(tokenizer)).float()
    eos = tokenizer.convert_tokens_to_ids(END_OF_TURN_TOKEN)
    pad = tokenizer.convert_tokens_to_ids(PAD_TOKEN)
    model.generation_config = GenerationConfig(eos_token_id=[eos, pad], pad_token_id=pad)
    return model


def model_config(tokenizer: Any) -> Any:
    """The `Qwen2_5_VLConfig` for a tokenizer's vocabulary."""
    token_id = tokenizer.convert_tokens_to_ids
    text_config = {
        "model_type": "qwen2_5_vl_text",
        "vocab_size": len(tokenizer),
        "hidden_size": _HIDDEN,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": MAX_POSITIONS,
        "max_window_layers": 3,
        "initializer_range": _INITIALIZER_RANGE,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": True,
        # head width 32: 16 frequencies, shared out over time, height and width
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]},
        "bos_token_id": None,
        "eos_token_id": token_id(END_OF_TURN_TOKEN),
        "pad_token_id": token_id(PAD_TOKEN),
    }
    vision_config = {
        "depth": 2,
        "initializer_range": _INITIALIZER_RANGE,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_heads": 4,
        "out_hidden_size": _HIDDEN,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "temporal_patch_size": 2,
        "window_size": 112,
        "fullatt_block_indexes": [1],
    }
    return Qwen2_5_VLConfig(
        text_config=text_config,
        vision_config=vision_config,
        tie_word_embeddings=True,
        image_token_id=token_id("<|image_pad|>"),
        video_token_id=token_id("<|video_pad|>"),
        vision_start_token_id=token_id("<|vision_start|>"),
        vision_end_token_id=token_id("<|vision_end|>"),
    )
