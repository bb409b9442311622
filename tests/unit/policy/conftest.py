"""Random tiny models whose weights make images matter, prompt groups, an independent reference."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

from pgpo_async.demo.tokenizer import build_processor
from pgpo_async.policy.inputs import Collator, PromptGroup
from pgpo_async.policy.loading import load_policy, load_processor
from pgpo_async.policy.model import PolicyModel

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def make(model_type: str = "qwen2_5_vl", *, tied: bool = True, layer_types: Any = None) -> Path:
        folder = tmp_path_factory.mktemp(model_type)
        processor = build_processor()
        token_id = processor.tokenizer.convert_tokens_to_ids
        vision = {"depth": 2, "num_heads": 2, "patch_size": 14, "spatial_merge_size": 2}
        if model_type == "qwen2_5_vl":
            kinds = Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
            vision |= {"hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 64}
            vision |= {"window_size": 56, "fullatt_block_indexes": [1]}
        elif model_type == "qwen3_vl":
            kinds = Qwen3VLConfig, Qwen3VLForConditionalGeneration
            vision |= {"depth": 3, "hidden_size": 32, "intermediate_size": 48, "out_hidden_size": 64}
            vision |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0, 1]}
        else:
            kinds = Qwen2VLConfig, Qwen2VLForConditionalGeneration
            vision |= {"embed_dim": 32, "hidden_size": 64, "mlp_ratio": 2}
        config = kinds[0](
            text_config={
                "vocab_size": len(processor.tokenizer),
                "hidden_size": 64,
                "intermediate_size": 96,
                "num_hidden_layers": 3 if model_type == "qwen3_vl" else 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "head_dim": 16,
                "tie_word_embeddings": tied,
                **({"layer_types": layer_types} if layer_types else {}),
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 10000.0,
                    "mrope_section": [2, 3, 3],
                },
                "bos_token_id": None,
                "eos_token_id": 2,
                "pad_token_id": 0,
            },
            vision_config=vision,
            tie_word_embeddings=tied,
            image_token_id=token_id("<|image_pad|>"),
            video_token_id=token_id("<|video_pad|>"),
            vision_start_token_id=token_id("<|vision_start|>"),
            vision_end_token_id=token_id("<|vision_end|>"),
        )
        torch.manual_seed(0)
        model = kinds[1](config).float()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.ndim > 1:
                    fan_in = parameter[0].numel()
                    parameter.normal_(std=0.2 if "embed_tokens" in name else 1.0 / fan_in**0.5)
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        return folder

    return make


@pytest.fixture(scope="session")
def model_folder(make_model_folder: Callable[..., Path]) -> Path:
    return make_model_folder()


@pytest.fixture(scope="session")
def processor(model_folder: Path) -> Any:
    return load_processor(str(model_folder))


@pytest.fixture
def policy(model_folder: Path) -> PolicyModel:
    return load_policy(str(model_folder), dtype="float32")


@pytest.fixture(scope="session")
def collator(model_folder: Path, processor: Any) -> Collator:
    return Collator(processor, load_policy(str(model_folder), dtype="float32").config)


@pytest.fixture(scope="session")
def make_image() -> Callable[..., bytes]:
    def make(seed: int, width: int = 84, height: int = 84) -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()

    return make


@pytest.fixture(scope="session")
def make_group(processor: Any) -> Callable[..., PromptGroup]:
    """`parts` of the prompt are numbers of random text tokens and images; `responses` numbers of tokens."""

    def make(parts: Sequence[int | bytes], responses: Sequence[int], seed: int = 0) -> PromptGroup:
        random = np.random.default_rng(seed)
        special = len(processor.tokenizer.all_special_ids)
        image_token = processor.tokenizer.convert_tokens_to_ids("<|image_pad|>")
        text = lambda size: random.integers(special + 5, len(processor.tokenizer), size)  # noqa: E731
        prompt: list[int] = []
        for part in parts:
            if isinstance(part, bytes):
                features = processor.image_processor(
                    images=[Image.open(io.BytesIO(part))], return_tensors="pt"
                )
                prompt += [image_token] * (int(features["image_grid_thw"].prod()) // 4)
            else:
                prompt += text(part).tolist()
        return PromptGroup(
            prompt_token_ids=np.array(prompt, np.int32),
            responses=tuple(text(size).astype(np.int32) for size in responses),
            images=tuple(part for part in parts if isinstance(part, bytes)),
        )

    return make


@pytest.fixture(scope="session")
def mixed_groups(
    make_image: Callable[..., bytes], make_group: Callable[..., PromptGroup]
) -> list[PromptGroup]:
    """One and two images: first, in the middle, just before the last token; text only; of many lengths."""
    small, wide, large = make_image(1), make_image(2, 140, 84), make_image(3, 112, 168)
    return [
        make_group([5, small, 7], [9, 4, 9, 1], seed=1),
        make_group([small, 12], [4], seed=2),
        make_group([6], [11, 3, 0], seed=3),
        make_group([3, wide, 2, large, 4], [6, 6, 6], seed=4),
        make_group([20, large, 1], [13, 0], seed=5),
        make_group([2, large, 5], [0], seed=6),
        make_group([1, small, 1, wide, 1], [1, 1, 2], seed=7),
        make_group([30], [2], seed=8),
        make_group([4], [], seed=9),
    ]


Reference = Callable[..., list[torch.Tensor]]


@pytest.fixture(scope="session")
def reference(processor: Any) -> Callable[[Path], Reference]:
    """transformers' own model, eager attention, a dense mask, one padded batch, full log-softmax.

    One rollout a row, each with its prompt and its images. `hide` takes the image tokens from the sight of
    all text tokens; `compact` counts positions up as if there had been no image (the mistake to be seen).
    """

    def load(folder: Path) -> Reference:
        kind = load_policy(str(folder), dtype="float32").model.__class__
        model = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()

        def logprobs(
            groups: Sequence[PromptGroup], *, hide: bool = False, compact: bool = False
        ) -> list[torch.Tensor]:
            pairs = [(group, response) for group in groups for response in group.responses]
            rows = [
                torch.from_numpy(np.concatenate([group.prompt_token_ids, response]).astype(np.int64))
                for group, response in pairs
            ]
            ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
            real = torch.arange(ids.shape[1]) < torch.tensor([[len(row)] for row in rows])
            is_image = (ids == model.config.image_token_id) & real
            images = [Image.open(io.BytesIO(data)) for group, _ in pairs for data in group.images]
            features = processor.image_processor(images=images, return_tensors="pt") if images else {}
            positions, _ = model.model.get_rope_index(
                ids,
                mm_token_type_ids=is_image.int(),
                image_grid_thw=features.get("image_grid_thw"),
                attention_mask=real.int(),
            )
            if compact:
                positions = ((~is_image & real).cumsum(-1) - 1).clamp(min=0).expand(3, -1, -1)
            seen = torch.ones(ids.shape[1], ids.shape[1]).tril().bool() & real[:, None, :]
            if hide:
                seen = seen & (is_image[:, :, None] | ~is_image[:, None, :])
            seen = seen | torch.eye(ids.shape[1]).bool()
            mask = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)
            logits = model(
                input_ids=ids,
                attention_mask=mask[:, None],
                position_ids=positions,
                use_cache=False,
                **features,
            ).logits
            table = logits.log_softmax(-1)
            return [
                table[i, p - 1 : p - 1 + t].gather(-1, row[p : p + t, None])[:, 0]
                for i, (row, (group, response)) in enumerate(zip(rows, pairs, strict=True))
                for p, t in [(len(group.prompt_token_ids), len(response))]
            ]

        logprobs.model = model  # type: ignore[attr-defined]
        return logprobs

    return load
