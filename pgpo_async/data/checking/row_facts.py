"""What a check keeps of a row: sizes, tokens, hashes, or the reason why it cannot be used; never its pixels.

Reads rows as training does and encodes them as generators do, so that the reasons are the quarantine's.
Called by `scan`, in its processes.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

from PIL import Image

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import Prompt, PromptError
from pgpo_async.data.chat import IMAGE_MARKER, ChatEncoder
from pgpo_async.data.row_source import RowSource
from pgpo_async.data.sources import PromptSource
from pgpo_async.policy.decoding import decode_image

KEY_BYTES = 12
MAX_KEPT_CHARACTERS = 200
"""Of an answer."""
MAX_COUNTED_TOKENS = 1 << 20
_SPACE = re.compile(r"\s+")


@dataclass(frozen=True, kw_only=True, slots=True)
class RowFacts:
    """One row. `reason` is empty where it can be used; what could not be found out is empty, too.

    `image_keys` are hashes of the decoded pixels (the same picture in another file format is the same),
    `question_key` is one of the question's words. `num_prompt_tokens` includes the images'.
    """

    number: int
    row_name: str
    reason: str = ""
    error: str = ""
    sizes: tuple[tuple[int, int], ...] = ()
    num_image_bytes: int = 0
    image_keys: tuple[bytes, ...] = ()
    question_key: bytes = b""
    answer: str = ""
    answer_kind: str = ""
    num_prompt_tokens: int | None = None
    num_image_tokens: int | None = None


@dataclass(kw_only=True, slots=True)
class RowReading:
    """How rows are looked at. Picklable: each process makes its own encoder, where there is a model."""

    source: PromptSource
    config: RunConfig
    with_model: bool
    kind_of: Callable[[str], str]
    _encoder: ChatEncoder | None = field(default=None, init=False)

    def facts(self, numbers: range) -> Iterator[RowFacts]:
        """Look at rows by number."""
        for number in numbers:
            yield self._facts(number)

    def prompt(self, number: int) -> Prompt:
        """Return a row's prompt. Raises PromptError."""
        if isinstance(self.source, RowSource):
            return self.source.row_prompt(number, index=number)
        return self.source.prompt(number)

    def _facts(self, number: int) -> RowFacts:
        try:
            prompt = self.prompt(number)
            chat = self._chat_encoder().encode(prompt) if self.with_model else None
        except PromptError as error:
            name = error.prompt_id
            return RowFacts(number=number, row_name=name, reason=error.reason, error=error.message)
        images = chat.images if chat is not None else tuple(decode_image(data) for data in prompt.images)
        num_tokens = num_image_tokens = None
        if chat is not None:
            num_tokens = chat.num_prompt_tokens
            num_image_tokens = num_tokens - len(chat.prompt_token_ids) + len(images)
        reason, message = self._too_long(prompt, num_tokens)
        return RowFacts(
            number=number,
            row_name=prompt.prompt_id,
            reason=reason,
            error=message,
            sizes=tuple(image.size for image in images),
            num_image_bytes=sum(len(data) for data in prompt.images),
            image_keys=tuple(_pixel_key(image) for image in images),
            question_key=_text_key(prompt.question),
            answer=prompt.answer[:MAX_KEPT_CHARACTERS],
            answer_kind=self.kind_of(prompt.answer),
            num_prompt_tokens=num_tokens,
            num_image_tokens=num_image_tokens,
        )

    def _too_long(self, prompt: Prompt, num_tokens: int | None) -> tuple[str, str]:
        limit = self.config.data.max_prompt_tokens
        if num_tokens is None or num_tokens <= limit:
            return "", ""
        message = f"must have at most {limit} tokens (data.max_prompt_tokens), got {num_tokens}"
        return "prompt_too_long", f"prompt {prompt.prompt_id}: {message}"

    def _chat_encoder(self) -> ChatEncoder:
        if self._encoder is None:
            from pgpo_async.policy.loading import load_processor  # heavy, and not always needed

            model = self.config.model
            processor = load_processor(
                model.path,
                min_pixels=model.min_pixels,
                max_pixels=model.max_pixels,
                trust_remote_code=model.trust_remote_code,
            )
            # How long a prompt is shall be known of too long ones, too, without the tokenizer's warning.
            processor.tokenizer.model_max_length = MAX_COUNTED_TOKENS
            data = self.config.data.model_copy(update={"max_prompt_tokens": MAX_COUNTED_TOKENS})
            self._encoder = ChatEncoder(processor, data, model)
        return self._encoder


def _pixel_key(image: Image.Image) -> bytes:
    name = blake2b(image.tobytes(), digest_size=KEY_BYTES)
    name.update(repr(image.size).encode())
    return name.digest()


def _text_key(question: str) -> bytes:
    words = _SPACE.sub(" ", question.replace(IMAGE_MARKER, " ")).strip().casefold()
    return blake2b(words.encode(), digest_size=KEY_BYTES).digest()
