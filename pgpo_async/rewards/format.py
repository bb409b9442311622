r"""The format reward: 1 if a response is `<think>...</think>...\boxed{...}...`, else 0 (ALGORITHMS sec. 3).

Owns the rule. White space around `<`, `>` and `/` does not count, so that "< think >" is a tag too.
"""

_OPEN, _CLOSE, _BOX, _BRACE = "<think>", "</think>", r"\boxed{", "}"


def format_reward(response: str) -> float:
    r"""Return 1.0 if the response matches `<think>.*</think>.*\boxed{.*}.*`, with dots matching newlines.

    Searches for the parts one after the other, which accepts the same texts as the regular expression in
    linear time; its backtracking is cubic in a response that repeats "</think>" and never closes a box.
    """
    text = _without_space_around_tag_signs(response)
    if not text.startswith(_OPEN):
        return 0.0
    position = len(_OPEN)
    for part in (_CLOSE, _BOX, _BRACE):
        found = text.find(part, position)
        if found < 0:
            return 0.0
        position = found + len(part)
    return 1.0


def _without_space_around_tag_signs(text: str) -> str:
    for sign in "<>/":
        first, *rest = text.split(sign)
        if rest:
            *between, last = rest
            text = sign.join([first.rstrip(), *(piece.strip() for piece in between), last.lstrip()])
    return text
