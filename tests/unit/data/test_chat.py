"""Chats: the text, the placeholders, the count of image tokens against the processor's own, the refusals."""

import io
from typing import Any

import pytest
from PIL import Image

from pgpo_async.config.inputs import DataConfig, ModelConfig
from pgpo_async.contracts import ConfigError, Prompt, PromptError
from pgpo_async.data.chat import ChatEncoder
from pgpo_async.demo.shapes import DEMO_INSTRUCTION, DEMO_SYSTEM_PROMPT, shapes_example
from pgpo_async.demo.tokenizer import build_processor
from pgpo_async.demo.warm_start import prompt_text

PLAIN = DataConfig(system_prompt="", instruction="")


@pytest.fixture(scope="module")
def processor() -> Any:
    return build_processor()


def picture(width: int, height: int, mode: str = "RGB", form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (width, height)).save(buffer, format=form)
    return buffer.getvalue()


def ask(question: str, *images: bytes) -> Prompt:
    return Prompt(prompt_id="set/1", question=question, answer="3", images=images)


def refusal(encoder: ChatEncoder, prompt: Prompt) -> PromptError:
    with pytest.raises(PromptError) as caught:
        encoder.encode(prompt)
    assert caught.value.prompt_id == "set/1"
    return caught.value


@pytest.mark.parametrize(
    "pixels", [(None, None), (28 * 28, 100 * 100), (300 * 300, 400 * 400), (None, 60 * 60)]
)
@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [(84, 84)],
        [(1, 1)],
        [(500, 333)],
        [(31, 1000)],
        [(1000, 6)],
        [(84, 84), (640, 480)],
        [(97, 41), (97, 41)],
    ],
)
def test_the_token_count_is_that_of_the_full_processor(
    processor: Any, sizes: list[tuple[int, int]], pixels: tuple[int | None, int | None]
) -> None:
    model = ModelConfig(max_images_per_prompt=2, min_pixels=pixels[0], max_pixels=pixels[1])
    encoder = ChatEncoder(processor, DataConfig(), model)
    prompt = ask("how many shapes ?", *(picture(*size) for size in sizes))
    encoded = encoder.encode(prompt)
    size = dict(processor.image_processor.size)
    size = {
        "shortest_edge": pixels[0] or size["shortest_edge"],
        "longest_edge": pixels[1] or size["longest_edge"],
    }
    images = {"images": list(encoded.images), "size": size} if sizes else {}
    full = processor(text=[encoder.chat_text(prompt)], **images)["input_ids"][0]
    assert encoded.num_prompt_tokens == len(full)
    assert encoded.prompt_token_ids.count(processor.image_token_id) == len(sizes)
    assert [image.size for image in encoded.images] == sizes


def test_the_demo_prompt_is_the_one_the_demo_model_was_taught(processor: Any) -> None:
    data = DataConfig(system_prompt=DEMO_SYSTEM_PROMPT, instruction=DEMO_INSTRUCTION)
    example = shapes_example("train", 0, 0)
    encoder = ChatEncoder(processor, data, ModelConfig())
    assert encoder.chat_text(ask(example.question, example.image_png)) == prompt_text(
        processor, example.question
    )


def test_system_prompt_and_instruction_appear_only_where_given(processor: Any) -> None:
    full = ChatEncoder(processor, DataConfig(system_prompt="Be brief.", instruction="Box it."), ModelConfig())
    assert full.chat_text(ask("why ?\n")) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nwhy ? Box it.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert ChatEncoder(processor, PLAIN, ModelConfig()).chat_text(ask("why ?")) == (
        "<|im_start|>user\nwhy ?<|im_end|>\n<|im_start|>assistant\n"
    )


def test_markers_say_where_images_go_and_without_them_images_come_first(processor: Any) -> None:
    encoder = ChatEncoder(processor, PLAIN, ModelConfig(max_images_per_prompt=2))
    image = "<|vision_start|><|image_pad|><|vision_end|>"
    one, two = picture(28, 28), picture(56, 56)
    assert f"user\nin {image} or {image}?<" in encoder.chat_text(ask("in <image> or <image>?", one, two))
    assert f"user\n{image}{image}which ?<" in encoder.chat_text(ask("which ?", one, two))
    for prompt in (
        ask("in <image> ?", one, two),
        ask("in <image> ?"),
        ask("<image><image>", one),
        ask("an <|image_pad|> too many", one),
        ask("a <|video_pad|>"),
    ):
        assert refusal(encoder, prompt).reason == "image_marker_mismatch"


def test_a_prompt_that_is_too_long_names_its_length_the_limit_and_the_field(processor: Any) -> None:
    prompt = ask("how many ?", picture(224, 224))
    length = ChatEncoder(processor, PLAIN, ModelConfig()).encode(prompt).num_prompt_tokens
    fits = DataConfig(system_prompt="", instruction="", max_prompt_tokens=length)
    assert ChatEncoder(processor, fits, ModelConfig()).encode(prompt).num_prompt_tokens == length
    short = DataConfig(system_prompt="", instruction="", max_prompt_tokens=length - 1)
    error = refusal(ChatEncoder(processor, short, ModelConfig()), prompt)
    assert error.reason == "prompt_too_long"
    for words in (f"got {length}", f"at most {length - 1} tokens", "data.max_prompt_tokens", "64 of them"):
        assert words in str(error)


def test_images_that_cannot_be_used_are_refused_by_reason(processor: Any) -> None:
    encoder = ChatEncoder(processor, PLAIN, ModelConfig())
    good = picture(28, 28)
    assert refusal(encoder, ask("q", good, good)).reason == "too_many_images"
    assert refusal(encoder, ask("q", good[:60])).reason == "corrupt_image"
    assert refusal(encoder, ask("q", picture(3000, 10))).reason == "unusable_image"


@pytest.mark.parametrize(
    ("mode", "form"),
    [("L", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("CMYK", "JPEG"), ("1", "PNG"), ("I;16", "PNG")],
)
def test_images_of_every_mode_reach_the_model_as_rgb(processor: Any, mode: str, form: str) -> None:
    encoded = ChatEncoder(processor, PLAIN, ModelConfig()).encode(ask("q", picture(28, 28, mode, form)))
    assert [image.mode for image in encoded.images] == ["RGB"]


def test_a_processor_that_cannot_count_image_tokens_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="get_number_of_image_patches"):
        ChatEncoder(object(), DataConfig(), ModelConfig())
