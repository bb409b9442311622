"""Image markers as the prompt encoding needs them, and choices as lettered lines.

Sets number their markers (`<image1>`, `<image 2>`), name one twice, or have none: `data.chat` wants one
`<image>` an image, in order, or none at all. Owns these two texts. Called by the sets' modules.
"""

import ast
import re
import string
from collections.abc import Sequence

from pgpo_async.data.image_files import Unusable, shown

MARKER = "<image>"
_NUMBERED = re.compile(r"<\s*image[ _]?([0-9]+)\s*>", re.IGNORECASE)
_LETTERED = re.compile(r"(?:^|[;\n,]|\s)\s*\(?([A-Z])\s*[.:)]\s*")


def numbered_images(text: str, images: Sequence[object]) -> tuple[str, list[object]]:
    """Return a text whose numbered markers are `<image>`, and the images in the markers' order.

    Only the first mention of an image becomes its marker; further ones, and numbers without an image, become
    words ("image 2"). Images that no marker names lead, marked if any other is.
    """
    order: list[int] = []

    def placed(match: re.Match[str]) -> str:
        number = int(match.group(1))
        if number in order or not 1 <= number <= len(images):
            return f"image {number}"
        order.append(number)
        return MARKER

    text = _NUMBERED.sub(placed, text)
    unnamed = [number for number in range(1, len(images) + 1) if number not in order]
    if order and unnamed:
        text = f"{MARKER * len(unnamed)}\n{text}"
    return text, [images[number - 1] for number in (*unnamed, *order)]


def consistent_markers(text: str, num_images: int) -> str:
    """Return a text with one `<image>` an image, or with none where it had another number of them."""
    if text.count(MARKER) == num_images:
        return text
    return text.replace(MARKER, "").strip()


def with_choices(question: str, choices: Sequence[str]) -> str:
    """Return a question with its choices as lettered lines; bare letters (the picture has them) take one."""
    letters = string.ascii_uppercase[: len(choices)]
    if [choice.strip() for choice in choices] == list(letters):
        return f"{question.rstrip()}\nChoices: {', '.join(letters)}"
    lines = [f"{letter}. {choice.strip()}" for letter, choice in zip(letters, choices, strict=True)]
    return "\n".join([question.rstrip(), *lines])


def split_choices(text: str) -> list[str] | None:
    """Return the choices of "A. 3 cm; B. 4 cm", None where the letters do not run on from A."""
    starts: list[re.Match[str]] = []
    for match in _LETTERED.finditer(text):
        if match.group(1) == string.ascii_uppercase[len(starts)]:
            starts.append(match)
    if len(starts) < 2 or text[: starts[0].start()].strip():
        return None
    ends = [match.start() for match in starts[1:]] + [len(text)]
    return [text[match.end() : end].strip(" ;,\n") for match, end in zip(starts, ends, strict=True)]


def listed_choices(value: object) -> list[str]:
    """Return choices that are a list, or the text of a Python list. Raises Unusable."""
    if isinstance(value, str) and value.strip():
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            raise Unusable(f"options must be a list, got {shown(value)}", "unreadable_row") from None
    if value is None or value == "":
        return []
    if not isinstance(value, list) or len(value) > len(string.ascii_uppercase):
        raise Unusable(f"options must be a list of at most 26, got {shown(value)}", "unreadable_row")
    return [str(choice) for choice in value]


def letter_of(answer: object, choices: Sequence[str]) -> object:
    """Return the letter of the choice that an answer spells out; any other answer as it is."""
    if isinstance(answer, str) and choices:
        letters = string.ascii_uppercase[: len(choices)]
        if answer.strip() in letters:
            return answer.strip()
        same = [
            letter
            for letter, choice in zip(letters, choices, strict=True)
            if choice.strip() == answer.strip()
        ]
        if len(same) == 1:
            return same[0]
    return answer
