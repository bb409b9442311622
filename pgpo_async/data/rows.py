"""One row of a data file to a `Prompt`, or to the reason why not.

Owns the meaning of the columns `images`, `problem`, `answer`. Called by `row_source`; knows no file format,
and no file: images are `image_files`' work.
"""

import datetime
import math
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Protocol

from pgpo_async.contracts import Prompt, PromptError
from pgpo_async.data.image_files import ImageRules, Unusable, image_bytes, shown
from pgpo_async.policy.decoding import ImageTooLarge, decode_image

MAX_KEPT_CHARACTERS = 100_000
"""Of a text that is no question, in the record of why."""


class RowReader(Protocol):
    """Random access to the rows of a file, or of several. Not safe for several threads at once."""

    @property
    def block_sizes(self) -> tuple[int, ...]:
        """Rows in each block, in file order; a block is what one read costs."""
        ...

    @property
    def window(self) -> int:
        """Blocks the reader can hold at a time."""
        ...

    @property
    def columns(self) -> Mapping[str, str]:
        """All columns that are there, with their types."""
        ...

    @property
    def folder(self) -> Path:
        """What image paths are relative to."""
        ...

    def row(self, number: int) -> Mapping[str, Any]:
        """Return a row as `images`, `problem`, `answer`. Raises OSError or ValueError if it is unreadable."""
        ...

    def row_name(self, number: int) -> str:
        """Return a row's file and its number there; no two rows have the same."""
        ...


class UnreadableRow(ValueError):
    """A row that is there and means nothing; `text` is what it holds."""

    def __init__(self, message: str, text: str) -> None:
        super().__init__(message)
        self.text = text[:MAX_KEPT_CHARACTERS]


def prompt_from_row(
    row: Mapping[str, Any], *, prompt_id: str, index: int, folder: Path, rules: ImageRules
) -> Prompt:
    """Return the prompt of a row; image paths are relative to `folder`.

    Raises PromptError with reason "unreadable_row", "missing_answer", "invalid_text", "no_image",
    "too_many_images", "corrupt_image", "image_too_large", "image_url" or "outside_path"; it holds what there
    is of the prompt.
    """
    images: list[bytes] = []
    try:
        question, answer = _question(row.get("problem")), _answer(row.get("answer"))
        for number, entry in enumerate(_entries(row.get("images"), rules)):
            images.append(image_bytes(entry, folder, rules))
            _check_decodes(images[-1], number, rules)
    except Unusable as error:
        seen = Prompt(
            prompt_id=prompt_id,
            question=_kept(row.get("problem")),
            answer=_kept(row.get("answer")),
            images=tuple(images),
            index=index,
        )
        message = f"prompt {prompt_id}: {error}"
        raise PromptError(message, reason=error.reason, prompt_id=prompt_id, prompt=seen) from error
    return Prompt(prompt_id=prompt_id, question=question, answer=answer, images=tuple(images), index=index)


def _question(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise Unusable(f"problem must be a text that is not empty, got {shown(value)}", "unreadable_row")
    return _utf8("problem", value)


def _answer(value: object) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        raise Unusable(f"answer must not be empty, got {value}", "missing_answer")
    if not isinstance(value, str | int | float | Decimal | datetime.date | datetime.time):
        # Its Python text would be a reference that no response equals.
        raise Unusable(f"answer must be a text or a number, got {shown(value)}", "unreadable_row")
    text = str(value).strip()
    if not text:
        raise Unusable(f"answer must not be empty, got {shown(value)}", "missing_answer")
    return _utf8("answer", text)


def _utf8(name: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:  # JSON can write half of a surrogate pair; no tokenizer takes it
        message = f"{name} must be Unicode text, got a lone surrogate at character {error.start}"
        raise Unusable(message, "invalid_text") from error
    return text


def _entries(value: object, rules: ImageRules) -> list[object]:
    entries = [] if value is None else value if isinstance(value, list) else [value]
    if rules.require_image and not entries:
        raise Unusable("must have an image (data.require_image), got none", "no_image")
    if rules.max_images is not None and len(entries) > rules.max_images:
        # Before any is read: one row may name a large file ten thousand times.
        raise Unusable(
            f"must have at most {rules.max_images} images (model.max_images_per_prompt), got {len(entries)}",
            "too_many_images",
        )
    return entries


def _check_decodes(data: bytes, number: int, rules: ImageRules) -> None:
    try:
        decode_image(data, max_pixels=rules.max_image_pixels)
    except ImageTooLarge as error:
        message = f"image {number}: {error} (data.max_image_pixels)"
        raise Unusable(message, "image_too_large") from error
    except ValueError as error:
        raise Unusable(f"image {number}: {error}", "corrupt_image") from error


def _kept(value: object) -> str:
    text = value if isinstance(value, str) else "" if value is None else shown(value)
    return text[:MAX_KEPT_CHARACTERS]
