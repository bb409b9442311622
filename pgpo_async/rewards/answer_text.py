r"""Answers as text: find the last \boxed{}, take LaTeX wrappers off, read letters and words.

Owns reading only; `accuracy` decides.
"""

import re

_BOX = r"\boxed{"
_WRAPPED = re.compile(r"\\(?:text(?:bf|it|rm)?|math(?:rm|bf|it|sf)|boxed|bf|rm)\s*(?=\{)")
_DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"), ("**", "**"))
_SPACING = re.compile(r"\\[!,;: ]|~|\\(?:quad|qquad|displaystyle|[lL]arge|LARGE|[hH]uge)\b")
_SPELLINGS = (
    ("\u2212", "-"),  # the minus sign
    ("\u00b0", r"^\circ"),
    (r"\%", "%"),
    (r"\$", ""),
    ("{,}", ","),
    (r"\dfrac", r"\frac"),
    (r"\tfrac", r"\frac"),
    (r"\varnothing", r"\emptyset"),
    ("\u00d7", r"\times "),
    ("\u00b7", r"\cdot "),
    ("\u00b2", "^2"),
    ("\u00b3", "^3"),
    ("\u00bd", r"\frac{1}{2}"),
    ("\u03c0", r"\pi "),
    ("\u221e", r"\infty "),
    ("\u222a", r"\cup "),
    ("\u2205", r"\emptyset"),
    ("\u2264", r"\le "),
    ("\u2265", r"\ge "),
)
# Not \leftarrow, not \rightarrow.
_BRACKET_SIZE = re.compile(r"\\(?:left|right)(?![A-Za-z])")
_ROOT = re.compile("\u221a\\s*(?:\\(([^()]*)\\)|([0-9]+|[A-Za-z]))")
_LEAD_IN = re.compile(
    r"(?:the\s+)?(?:(?:final|correct|right)\s+)?answer\s*(?:is\b|[:=])\s*:?\s*(?=\S)"
    r"|(?:the\s+)?(?:(?:correct|right)\s+)?(?:option|choice)\s*(?:is\b|:)?\s*"
    r"(?=[(\[]?[A-Za-z][)\]]?[.:]?(?:\s|$))",
    re.IGNORECASE,
)
# "B", "(B)", "[B]", "B.", "B)", "B:", and each with the option's text behind it.
_CHOICE = re.compile(
    r"[(\[]\s*([A-Za-z])\s*[)\]]\s*[.:]?(?:\s(.*))?|([A-Za-z])\s*(?:[:)](.*)|\.(?:\s(.*))?)?", re.DOTALL
)
_SEPARATOR = re.compile(r"\s*(?:[,;&]\s*(?:and\b)?|\band\b)\s*")
_ONE_OF_SEVERAL = re.compile(r"[(\[]?\s*([A-Z])\s*[)\]]?\.?")
_SPACE_BESIDE_NO_DIGIT = re.compile(r"(?<![0-9]) | (?![0-9])")
_MAX_CHOICES_LENGTH = 100


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
        if match := _LEAD_IN.match(text):
            text = text[match.end() :]
    for spelling, plain in _SPELLINGS:
        text = text.replace(spelling, plain)
    text = _ROOT.sub(lambda match: rf"\sqrt{{{match.group(1) or match.group(2)}}}", text)
    return _BRACKET_SIZE.sub("", text).removeprefix("$").strip()


def choice_letters(text: str) -> frozenset[str]:
    """Return the options, in capitals, that an unwrapped answer names: "B", "(B)", "B: text", "A, C".

    Empty if it is anything else. Several are a set: a question with two right options asks for no order.
    """
    if match := _CHOICE.fullmatch(text):
        return frozenset((match.group(1) or match.group(3)).upper())
    if len(text) > _MAX_CHOICES_LENGTH:
        return frozenset()
    parts = [_ONE_OF_SEVERAL.fullmatch(part) for part in _SEPARATOR.split(text)]
    return frozenset(part.group(1) for part in parts if part) if all(parts) else frozenset()


def option_text(text: str) -> str:
    """Return the text of an unwrapped choice ("12 cm" of "B. 12 cm"), empty if there is none."""
    match = _CHOICE.fullmatch(text)
    return (match.group(2) or match.group(4) or match.group(5) or "").strip() if match else ""


def squeezed(text: str) -> str:
    """Return an unwrapped answer without case and white space, for comparing it as text.

    White space between digits stays: 1 1/2 is not 11/2.
    """
    return _SPACE_BESIDE_NO_DIGIT.sub("", " ".join(text.casefold().split()))


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
