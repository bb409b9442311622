r"""Answers as text: find the last \boxed{}, take LaTeX wrappers off, compare letters and words.

Owns reading only; `accuracy` decides.
"""

import re

_BOX = r"\boxed{"
_WRAPPED = re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|it|sf)|boxed|bf|rm)\s*(?=\{)")
_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"))
_SPACING = re.compile(r"\\[!,;: ]|~|\\quad\b|\\qquad\b")
_SPELLINGS = (
    ("\u2212", "-"),  # the minus sign
    ("\u00b0", r"^\circ"),
    (r"\%", "%"),
    (r"\$", ""),
    ("{,}", ","),
    (r"\dfrac", r"\frac"),
    (r"\tfrac", r"\frac"),
    (r"\left", ""),
    (r"\right", ""),
)
# "B", "(B)", "[B]", "B.", "B)", "B:", and each with the option's text behind it.
_CHOICE = re.compile(
    r"[(\[]\s*([A-Za-z])\s*[)\]]\s*[.:]?(?:\s.*)?|([A-Za-z])\s*(?:[:)].*|\.(?:\s.*)?)?", re.DOTALL
)


def last_box(response: str) -> str | None:
    r"""Return what stands in the last `\boxed{}`, None if there is none or it is never closed.

    Braces are balanced, `\{` and `\}` are letters. An open last box means that the response was cut in the
    middle of its answer; an earlier box is then not taken for it.
    """
    start = response.rfind(_BOX)
    if start < 0:
        return None
    start += len(_BOX)
    end = _closing_brace(response, start)
    return None if end < 0 else response[start:end].strip()


def unwrap(text: str) -> str:
    r"""Return an answer without dollars, `\text{}` and the like around it, closing full stop, thin spaces."""
    text = _SPACING.sub(" ", text)
    previous = None
    while text != previous:
        previous = text
        text = _without_wrapper(text.strip())
    for spelling, plain in _SPELLINGS:
        text = text.replace(spelling, plain)
    return text.removeprefix("$").strip()


def choice_letter(text: str) -> str | None:
    """Return the option, in capitals, that an unwrapped answer names: "B", "(B)", "B.", "B: text"."""
    match = _CHOICE.fullmatch(text)
    return (match.group(1) or match.group(2)).upper() if match else None


def squeezed(text: str) -> str:
    """Return an unwrapped answer without case and white space, for comparing it as text."""
    return "".join(text.casefold().split())


def _closing_brace(text: str, start: int) -> int:
    depth, position = 0, start
    while position < len(text):
        sign = text[position]
        if sign == "\\":
            position += 1
        elif sign == "{":
            depth += 1
        elif sign == "}":
            if depth == 0:
                return position
            depth -= 1
        position += 1
    return -1


def _without_wrapper(text: str) -> str:
    if text.endswith(".") and not text.endswith(".."):
        return text[:-1]
    for left, right in _DELIMITERS:
        if len(text) > len(left) + len(right) and text.startswith(left) and text.endswith(right):
            inner = text[len(left) : -len(right)]
            if left not in inner:
                return inner
    match = _WRAPPED.match(text)
    if match and _closing_brace(text, match.end() + 1) == len(text) - 1:
        return text[match.end() + 1 : -1]
    return text
