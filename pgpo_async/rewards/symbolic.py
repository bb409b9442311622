"""Mathematical equality by math-verify, for answers that are more than one number.

Owns when the library is asked, and for how long. Imported lazily: it costs over a second. Works on a
process's main thread only, because its time limit is a signal: see `actors.reward`.
"""

import contextlib
import logging
import re
import signal
from collections.abc import Iterator
from types import FrameType

MAX_LENGTH = 300
CPU_LIMIT_S = 2.0
"""An answer that takes longer to compare equals nothing, by rule. It is CPU time, not time on the clock as
the library's own limit: whether an answer is right must not depend on how busy the machine is."""

_OPERATORS = re.compile(r"[=<>+*/^|]")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")


class _OutOfTime(BaseException):
    """Not an Exception: the library swallows those."""


def is_mathematical(reference: str) -> bool:
    """Whether a reference may be compared by mathematics.

    Words must not: to a computer algebra "top" is t * o * p, which equals "pot", and "red apple" is red in
    units of apple.
    """
    if re.search(r"[0-9\\]", reference):
        return True
    if _WORD.search(reference):
        return False
    return len(reference) == 1 or bool(_OPERATORS.search(reference))


def equal(reference: str, answer: str) -> bool:
    """Whether math-verify finds both equal. What it cannot parse, or not in time, equals nothing.

    Raises ValueError outside the main thread.
    """
    if len(reference) > MAX_LENGTH or len(answer) > MAX_LENGTH:
        return False
    _load()
    try:
        with _cpu_limit(CPU_LIMIT_S):
            return _compare(reference, answer)
    except _OutOfTime:
        return False


def warm_up() -> None:
    """Load the library and its parser, so that the first answer does not pay for it. Main thread only."""
    equal(r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}")


def _load() -> None:
    import math_verify  # noqa: F401  # outside the time limit

    for module in ("parser", "grader"):  # both warn once that their own time limit is off
        logging.getLogger(f"math_verify.{module}").setLevel(logging.ERROR)


def _compare(reference: str, answer: str) -> bool:
    from math_verify import verify

    parsed = _parse(answer)
    return bool(parsed) and bool(verify(_parse(reference), parsed, timeout_seconds=None))


def _parse(text: str) -> list[object]:
    from math_verify import LatexExtractionConfig, parse

    # LaTeX only and all of it: the library's other extractors pick a number out of any sentence.
    config = [LatexExtractionConfig()]
    parsed: list[object] = parse(f"${text}$", extraction_config=config, parsing_timeout=None)
    return parsed


@contextlib.contextmanager
def _cpu_limit(seconds: float) -> Iterator[None]:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise _OutOfTime

    before = signal.signal(signal.SIGVTALRM, stop)
    # Again and again, in case the library's code swallows the first one.
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds, seconds / 4)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        signal.signal(signal.SIGVTALRM, before)
