"""A prompt as the model reads it: chat template, image placeholders, decoded images, length check.

Owns the layout of the turns and the refusal of prompts the model cannot take. It does not expand the image
placeholders (vLLM does) and does not resize images (the processor does); it computes how many tokens they
will be, with the processor's own arithmetic. Called by generators before a request, and by the evaluation.
"""

from dataclasses import dataclass
from typing import Any

from PIL import Image

from pgpo_async.config.inputs import DataConfig, ModelConfig
from pgpo_async.contracts import ConfigError, Prompt, PromptError
from pgpo_async.policy.decoding import ImageTooLarge, decode_image

IMAGE_MARKER = "<image>"
MOST_CHARACTERS_A_TOKEN = 256
"""Twice the longest token of the supported models: a text above so many a token is too long, and is not given
to a tokenizer, which would take its time to say so."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatPrompt:
    """An encoded prompt, open for the assistant's turn.

    `prompt_token_ids` holds one placeholder an image; `images` are RGB, in the placeholders' order;
    `num_prompt_tokens` counts the placeholders expanded, which is what the model attends to.
    """

    prompt_token_ids: tuple[int, ...]
    images: tuple[Image.Image, ...]
    num_prompt_tokens: int


class ChatEncoder:
    """Encodes prompts for one model. `processor` is the model's (tokenizer, image processor, template)."""

    def __init__(self, processor: Any, data: DataConfig, model: ModelConfig) -> None:
        """Raises ConfigError if the processor cannot tell how many tokens an image becomes."""
        if not hasattr(getattr(processor, "image_processor", None), "get_number_of_image_patches"):
            raise ConfigError(
                f"model.path must name a model whose image processor counts patches "
                f"(get_number_of_image_patches), got a {type(processor).__name__}"
            )
        self._processor = processor
        self._data = data
        self._model = model
        limits = {"min_pixels": model.min_pixels, "max_pixels": model.max_pixels}
        self._pixel_limits = {name: value for name, value in limits.items() if value is not None}
        tokenizer = processor.tokenizer
        self._placeholders = {processor.image_token_id, getattr(processor, "video_token_id", None)}
        self._control_tokens = tuple(
            token.content
            for number, token in tokenizer.added_tokens_decoder.items()
            if token.special and number not in self._placeholders
        )

    def encode(self, prompt: Prompt) -> ChatPrompt:
        """Return the prompt's tokens and images.

        Raises PromptError with reason "too_many_images", "image_marker_mismatch", "special_token" (the
        question spells out one that the template is made of), "corrupt_image", "image_too_large",
        "unusable_image" (the processor refuses its proportions), "prompt_too_long", or "encode_error" for
        whatever else tokenizer and processor raise.
        """
        try:
            return self._encode(prompt)
        except PromptError:
            raise
        except Exception as error:  # of this prompt's content, which others do not share
            text = f"must be encodable: {type(error).__name__}: {error}"
            raise _error(prompt, text, "encode_error") from error

    def _encode(self, prompt: Prompt) -> ChatPrompt:
        limit = self._model.max_images_per_prompt
        if len(prompt.images) > limit:
            message = f"must have at most {limit} images (model.max_images_per_prompt)"
            raise _error(prompt, f"{message}, got {len(prompt.images)}", "too_many_images")
        self._check_question(prompt)
        token_ids = self._token_ids(prompt)
        images = tuple(self._decoded(prompt, number) for number in range(len(prompt.images)))
        num_image_tokens = sum(self._num_image_tokens(prompt, image) for image in images)
        num_tokens = len(token_ids) - len(images) + num_image_tokens
        if num_tokens > self._data.max_prompt_tokens:
            message = (
                f"must have at most {self._data.max_prompt_tokens} tokens (data.max_prompt_tokens), "
                f"got {num_tokens}, {num_image_tokens} of them of images"
            )
            raise _error(prompt, message, "prompt_too_long")
        return ChatPrompt(prompt_token_ids=token_ids, images=images, num_prompt_tokens=num_tokens)

    def _check_question(self, prompt: Prompt) -> None:
        limit = self._data.max_prompt_tokens
        if len(prompt.question) > limit * MOST_CHARACTERS_A_TOKEN:
            message = f"must have at most {limit} tokens (data.max_prompt_tokens)"
            raise _error(prompt, f"{message}, got {len(prompt.question)} characters", "prompt_too_long")
        # The tokenizer makes control tokens of such text: a question could end its turn and answer itself.
        found = [token for token in self._control_tokens if token in prompt.question]
        if found:
            raise _error(prompt, f"problem must not hold control tokens, got {found[0]}", "special_token")

    def chat_text(self, prompt: Prompt) -> str:
        """Return the prompt through the chat template, one placeholder an image, before tokenization.

        Raises PromptError "image_marker_mismatch" if the question's `<image>` markers are neither none nor
        as many as the images.
        """
        messages: list[dict[str, Any]] = [{"role": "user", "content": self._user_content(prompt)}]
        if self._data.system_prompt:
            system = {"type": "text", "text": self._data.system_prompt}
            messages.insert(0, {"role": "system", "content": [system]})
        text: str = self._processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        return text

    def _user_content(self, prompt: Prompt) -> list[dict[str, str]]:
        pieces = user_text(prompt, self._data).split(IMAGE_MARKER)
        num_markers, num_images = len(pieces) - 1, len(prompt.images)
        if num_markers == 0:
            images_first = [{"type": "image"}] * num_images
            return [*images_first, {"type": "text", "text": pieces[0]}]
        if num_markers != num_images:
            message = f"must have one {IMAGE_MARKER} an image, or none, got {num_markers} for {num_images}"
            raise _error(prompt, message, "image_marker_mismatch")
        content: list[dict[str, str]] = []
        for number, piece in enumerate(pieces):
            content += [{"type": "image"}] if number else []
            content += [{"type": "text", "text": piece}] if piece else []
        return content

    def _token_ids(self, prompt: Prompt) -> tuple[int, ...]:
        text = self.chat_text(prompt)
        token_ids = self._processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        # A question that spells a placeholder token out would make the model look for an image too many.
        num_found = sum(token in self._placeholders for token in token_ids)
        if num_found != len(prompt.images):
            message = f"must hold {len(prompt.images)} image placeholders as tokens, got {num_found}"
            raise _error(prompt, message, "image_marker_mismatch")
        return tuple(token_ids)

    def _decoded(self, prompt: Prompt, number: int) -> Image.Image:
        try:
            return decode_image(prompt.images[number], max_pixels=self._data.max_image_pixels)
        except ValueError as error:
            reason = "image_too_large" if isinstance(error, ImageTooLarge) else "corrupt_image"
            raise _error(prompt, f"image {number}: {error}", reason) from error

    def _num_image_tokens(self, prompt: Prompt, image: Image.Image) -> int:
        processor = self._processor.image_processor
        try:
            num_patches = processor.get_number_of_image_patches(
                image.height, image.width, dict(self._pixel_limits)
            )
        except ValueError as error:
            message = f"image of {image.width} x {image.height} pixels must suit the processor: {error}"
            raise _error(prompt, message, "unusable_image") from error
        return int(num_patches) // int(processor.merge_size) ** 2


def user_text(prompt: Prompt, data: DataConfig) -> str:
    """Return the user's turn: the question, then `data.instruction`."""
    return f"{prompt.question.rstrip()} {data.instruction}" if data.instruction else prompt.question


def _error(prompt: Prompt, message: str, reason: str) -> PromptError:
    return PromptError(f"prompt {prompt.prompt_id}: {message}", reason=reason, prompt_id=prompt.prompt_id)
