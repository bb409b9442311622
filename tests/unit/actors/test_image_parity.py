"""Generator and trainer see the same images: vLLM's own processing of what we send it, beside the collator's.

No engine runs: model config, multimodal processor and the tower's input norm (vLLM sends raw bytes and
normalizes on the device) are made from the arguments that the engine gets.
"""

import dataclasses
import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoConfig, Qwen3VLConfig, Qwen3VLProcessor, Qwen3VLVideoProcessor

from pgpo_async.actors.engine import RolloutEngine
from pgpo_async.config.inputs import DataConfig, GenerationConfig, ModelConfig
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import Prompt
from pgpo_async.data.chat import ChatEncoder
from pgpo_async.demo.tokenizer import build_processor
from pgpo_async.policy.inputs import Collator, PromptGroup
from pgpo_async.policy.loading import load_processor
from pgpo_async.policy.model_path import resolve_model_path

pytest.importorskip("vllm")
torch.set_num_threads(1)

NUM_IMAGES = 100
"""Of each model under each kind of limits: 200 a model."""
LIMITS = {"min_pixels": 100 * 100, "max_pixels": 160 * 160}


def picture(random: np.random.Generator, mode: str, width: int, height: int) -> Image.Image:
    deep = {"I;16": (np.uint16, 65_536), "I": (np.int32, 65_536), "F": (np.float32, 1)}
    if mode in deep:
        kind, peak = deep[mode]
        return Image.fromarray((random.random((height, width)) * peak).astype(kind))
    noise = Image.fromarray(random.integers(0, 256, (height, width, 4), dtype=np.uint8), mode="RGBA")
    return noise if mode == "RGBA" else noise.convert("RGB").convert(mode)


def encoded(random: np.random.Generator) -> bytes:
    """An image of a random mode and size in a format that holds it, some turned by EXIF, some transparent."""
    mode, form = MODES[random.integers(len(MODES))]
    # Evenly spread in orders of magnitude: thin strips and single pixels are among them.
    width, height = (int(2**side) for side in random.uniform(0, 8.5, 2))
    height = min(max(height, -(-width // 150)), width * 150)  # the processors refuse thinner strips
    options: dict[str, Any] = {}
    if form in ("JPEG", "PNG", "TIFF", "WEBP"):  # of a PNG nobody reads it, neither here nor there
        exif = Image.Exif()
        exif[0x0112] = int(random.integers(1, 9))
        options["exif"] = exif
    if mode == "P":
        options["transparency"] = 0
    buffer = io.BytesIO()
    picture(random, mode, width, height).save(buffer, form, **options)
    return buffer.getvalue()


MODES = (
    *((mode, "PNG") for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16")),
    *((mode, "JPEG") for mode in ("RGB", "L", "CMYK")),
    *((mode, "TIFF") for mode in ("I", "F", "CMYK", "RGB")),
    ("RGBA", "WEBP"),
    ("P", "GIF"),
    ("RGB", "BMP"),
)


def qwen3_vl_folder(folder: Path) -> str:
    """A Qwen3-VL without weights: what a processor is made of, in that model's proportions of patches."""
    base = build_processor()
    token_id = base.tokenizer.convert_tokens_to_ids
    config = Qwen3VLConfig(
        text_config={"vocab_size": len(base.tokenizer), "hidden_size": 64, "num_hidden_layers": 2},
        vision_config={"depth": 1, "hidden_size": 32, "out_hidden_size": 64, "deepstack_visual_indexes": []},
        image_token_id=token_id("<|image_pad|>"),
        video_token_id=token_id("<|video_pad|>"),
        vision_start_token_id=token_id("<|vision_start|>"),
        vision_end_token_id=token_id("<|vision_end|>"),
        architectures=["Qwen3VLForConditionalGeneration"],
    )
    config.save_pretrained(folder)
    image_processor = type(base.image_processor)(patch_size=16, min_pixels=64 * 64, max_pixels=256 * 256)
    processor = Qwen3VLProcessor(
        image_processor=image_processor,
        tokenizer=base.tokenizer,
        video_processor=Qwen3VLVideoProcessor(),
        chat_template=base.chat_template,
    )
    processor.save_pretrained(folder)
    return str(folder)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sides:
    """What a generator and a learner make of a config."""

    chat: ChatEncoder
    vllm: Callable[[list[int], list[Image.Image]], Any]
    tower_input: Callable[[torch.Tensor], torch.Tensor]
    collator: Collator
    image_token: int
    merge: int
    pixels_a_token: int


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen3_vl"])
def model_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "qwen2_5_vl":
        return str(resolve_model_path("builtin:tiny-vlm"))
    return qwen3_vl_folder(tmp_path_factory.mktemp("qwen3_vl"))


def both_sides(model_path: str, *, dtype: str = "float32", **limits: int) -> Sides:
    from vllm.config import VllmConfig, set_current_vllm_config
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.model_executor.layers.fusion.mm_input_norm import build_mm_input_norm
    from vllm.multimodal import MULTIMODAL_REGISTRY
    from vllm.multimodal.processing import ProcessorInputs, TimingContext

    config = RunConfig(
        model=ModelConfig(path=model_path, dtype=dtype, max_images_per_prompt=2, **limits),
        data=DataConfig(max_prompt_tokens=512),
        generation=GenerationConfig(max_response_tokens=64),
    )
    arguments = RolloutEngine(config, model_path, seed=0)._engine_arguments()
    model_config = AsyncEngineArgs(**arguments).create_model_config()
    theirs = MULTIMODAL_REGISTRY.create_processor(model_config)
    with set_current_vllm_config(VllmConfig()):
        norm = build_mm_input_norm(model_config)

    def processed(token_ids: list[int], images: list[Image.Image]) -> Any:
        items = theirs.info.parse_mm_data({"image": images})
        return theirs.apply(ProcessorInputs(token_ids, items), TimingContext(enabled=False))

    processor = load_processor(model_path, **limits)
    return Sides(
        chat=ChatEncoder(processor, config.data, config.model),
        vllm=processed,
        tower_input=lambda pixels: norm(pixels, model_config.dtype),
        collator=Collator(processor, AutoConfig.from_pretrained(model_path)),
        image_token=processor.image_token_id,
        merge=processor.image_processor.merge_size,
        pixels_a_token=(processor.image_processor.patch_size * processor.image_processor.merge_size) ** 2,
    )


def compare(sides: Sides, images: tuple[bytes, ...], dtype: torch.dtype = torch.float32) -> tuple[int, ...]:
    """Assert that tokens, grids and pixels agree to the rounding of `dtype`; return the images' tokens."""
    prompt = Prompt(prompt_id="p", question="how many shapes ?", answer="3", images=images, index=0)
    chat = sides.chat.encode(prompt)
    theirs = sides.vllm(list(chat.prompt_token_ids), list(chat.images))
    token_ids = np.asarray(theirs["prompt_token_ids"], dtype=np.int32)
    group = PromptGroup(
        prompt_token_ids=token_ids, responses=(np.array([5], np.int32),), images=images, key="p"
    )
    ours = sides.collator([group])  # refuses placeholders that do not fit the images
    fields = [item.get_data() for item in theirs["mm_kwargs"]["image"]]
    grids = torch.stack([field["image_grid_thw"] for field in fields])
    counts = tuple(int(count) for count in grids.prod(dim=1) // sides.merge**2)
    assert len(token_ids) == chat.num_prompt_tokens
    assert (
        int((token_ids == sides.image_token).sum()) == sum(counts) == sides.collator.num_image_tokens(group)
    )
    assert ours.image_grids is not None
    assert ours.pixel_values is not None
    assert torch.equal(grids, ours.image_grids)
    pixels = sides.tower_input(torch.cat([field["pixel_values"] for field in fields]))
    assert pixels.dtype == dtype
    # One step of the type's rounding: the two normalize in another order of multiplications.
    torch.testing.assert_close(pixels, ours.pixel_values.to(dtype), rtol=torch.finfo(dtype).eps, atol=1e-6)
    return counts


@pytest.mark.parametrize("limits", [{}, LIMITS], ids=["the processor's own limits", "the config's limits"])
def test_random_images_are_the_same_tokens_and_pixels_on_both_sides(
    model_path: str, limits: dict[str, int]
) -> None:
    sides = both_sides(model_path, **limits)
    random = np.random.default_rng(20261122)
    counts = [compare(sides, (encoded(random),))[0] for _ in range(NUM_IMAGES)]
    areas = sorted(count * sides.pixels_a_token for count in counts)
    if limits:  # thin strips may be above the largest area: no side is shorter than a token
        assert LIMITS["min_pixels"] <= areas[0] <= areas[NUM_IMAGES // 2] <= LIMITS["max_pixels"]
    assert len(set(counts)) > 10, "sizes must differ, or the limits hide everything"


def test_in_half_precision_the_engine_gets_the_trainers_pixels_rounded(model_path: str) -> None:
    sides = both_sides(model_path, dtype="bfloat16")
    random = np.random.default_rng(7)
    for _ in range(20):
        compare(sides, (encoded(random),), torch.bfloat16)


def test_several_images_of_a_prompt_keep_their_order(model_path: str) -> None:
    sides = both_sides(model_path)
    random = np.random.default_rng(11)
    images = [encoded(random) for _ in range(12)]
    for first, second in pairwise(images):
        singly = compare(sides, (first,)) + compare(sides, (second,))
        assert compare(sides, (first, second)) == singly
