"""One row of a data file to a `Prompt`, or to the reason why not.

Owns the meaning of the columns `images`, `problem`, `answer`. Called by `file_source`; knows no file format.
"""

import base64
import binascii
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pgpo_async.contracts import Prompt, PromptError
from pgpo_async.policy.decoding import decode_image

COLUMNS = ("images", "problem", "answer")


class RowReader(Protocol):
    """Random access to a file's rows. Not safe for several threads at once."""

    block_sizes: tuple[int, ...]
    """Rows in each block, in file order; a block is what one read costs."""
    window: int
    """Blocks the reader can hold at a time."""

    def row(self, number: int) -> Mapping[str, Any]:
        """Return the columns of a row. Raises OSError or ValueError if it cannot be read."""
        ...


def prompt_from_row(row: Mapping[str, Any], *, prompt_id: str, index: int, folder: Path) -> Prompt:
    """Return the prompt of a row; image paths are relative to `folder`.

    Raises PromptError with reason "missing_answer", "corrupt_image" or "unreadable_row".
    """
    question = row.get("problem")
    if not isinstance(question, str) or not question.strip():
        raise _error("problem must be a text that is not empty", question, "unreadable_row", prompt_id)
    answer = _answer_text(row.get("answer"))
    if not answer:
        raise _error("answer must not be empty", row.get("answer"), "missing_answer", prompt_id)
    images = tuple(_image_bytes(item, folder, prompt_id) for item in _as_list(row.get("images")))
    for number, data in enumerate(images):
        try:
            decode_image(data)
        except ValueError as error:
            message = f"prompt {prompt_id}, image {number}: {error}"
            raise PromptError(message, reason="corrupt_image", prompt_id=prompt_id) from error
    return Prompt(prompt_id=prompt_id, question=question, answer=answer, images=images, index=index)


def _answer_text(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value).strip()


def _as_list(value: object) -> list[object]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _image_bytes(item: object, folder: Path, prompt_id: str) -> bytes:
    """Return the encoded bytes of an entry: bytes, {"bytes", "path"} (the Hub's Image feature), or a path."""
    if isinstance(item, Mapping):
        inner = item.get("bytes")
        if isinstance(inner, str):  # JSON has no bytes
            return _from_base64(inner, prompt_id)
        item = inner if inner is not None else item.get("path")
    if isinstance(item, bytes):
        return item
    if isinstance(item, str) and item:
        try:
            return (folder / item).read_bytes()
        except (OSError, ValueError) as error:
            message = f"prompt {prompt_id}: image file {item!r} must be readable: {error}"
            raise PromptError(message, reason="unreadable_row", prompt_id=prompt_id) from error
    raise _error("image must be bytes, {bytes, path} or a path", item, "unreadable_row", prompt_id)


def _from_base64(text: str, prompt_id: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _error("image bytes in JSON must be base64", text, "corrupt_image", prompt_id) from error


def _error(expected: str, got: object, reason: str, prompt_id: str) -> PromptError:
    shown = repr(got)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return PromptError(f"prompt {prompt_id}: {expected}, got {shown}", reason=reason, prompt_id=prompt_id)
