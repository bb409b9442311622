"""Mathematical equality by math-verify, for answers that are more than one number.

Owns when the library is asked, and for how long. Imported lazily: it costs over a second. Works on a
process's main thread only, because its time limit is a signal: see `actors.reward`.
"""

import contextlib
import functools
import logging
import re
import signal
from collections.abc import Iterator
from types import FrameType

from pgpo_async.contracts import RewardTimeout

MAX_LENGTH = 300
CPU_LIMIT_S = 2.0
"""A pair that takes longer to compare has no verdict: its group is quarantined. It is CPU time, not time on
the clock as the library's own limit: whether there is one must not depend on how busy the machine is."""

_OPERATORS = re.compile(r"[=<>+*/^|]")
_CLOCK_TIME = re.compile(r"[0-9]\s*[ap]\.?m\b", re.IGNORECASE)
# The library takes "1 2 3" for a sum, as it does the parts of a mixed number.
_SEVERAL_NUMBERS = re.compile(r"[0-9.]+(?:\s+[0-9.]+)+")
_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")


class _OutOfTime(BaseException):
    """Not an Exception: the library swallows those."""


def is_mathematical(reference: str) -> bool:
    """Whether a reference may be compared by mathematics.

    Words must not: to a computer algebra "top" is t * o * p, which equals "pot", and "red apple" is red in
    units of apple. Nor times of day, whose "am" would be a unit.
    """
    if _CLOCK_TIME.search(reference):
        return False
    if re.search(r"[0-9\\]", reference):
        return True
    if _WORD.search(reference):
        return False
    return len(reference) == 1 or bool(_OPERATORS.search(reference))


def equal(reference: str, answer: str, *, tolerance: float = 0.0) -> bool:
    """Whether math-verify finds both equal, or both are numbers that differ by a share `tolerance` at most.

    What it cannot parse, and what is longer than MAX_LENGTH, equals nothing. Raises RewardTimeout for a pair
    that is not compared in time, ValueError outside the main thread, MemoryError and RecursionError.
    """
    if len(reference) > MAX_LENGTH or len(answer) > MAX_LENGTH or _SEVERAL_NUMBERS.fullmatch(answer):
        return False
    _load()
    try:
        with _cpu_limit(CPU_LIMIT_S):
            return _compare(reference, answer, tolerance)
    except _OutOfTime:
        message = (
            f"comparing {answer!r} with {reference!r} must take at most {CPU_LIMIT_S:g} s, got no verdict"
        )
        raise RewardTimeout(message) from None


def warm_up() -> None:
    """Load the library and its parser, so that the first answer does not pay for it. Main thread only."""
    equal(r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}")


def _load() -> None:
    import math_verify  # noqa: F401  # outside the time limit

    for module in ("parser", "grader"):  # both warn once that their own time limit is off
        logging.getLogger(f"math_verify.{module}").setLevel(logging.ERROR)


def _compare(reference: str, answer: str, tolerance: float) -> bool:
    parsed = _parse(answer)
    if not parsed:
        return False
    wanted = _parse_once(reference)
    return _verified(wanted, parsed) or (
        tolerance > 0.0 and _near(_number(wanted), _number(parsed), tolerance)
    )


@functools.lru_cache(maxsize=256)
def _parse_once(text: str) -> list[object]:
    """A reference, which the answers of a group share."""
    return _parse(text)


def _parse(text: str) -> list[object]:
    from math_verify import LatexExtractionConfig, parse

    # LaTeX only and all of it: the library's other extractors pick a number out of any sentence.
    config = [LatexExtractionConfig()]
    parsed: list[object] = parse(f"${text}$", extraction_config=config, parsing_timeout=None)
    return parsed


def _verified(wanted: list[object], parsed: list[object]) -> bool:
    from math_verify import verify

    try:
        return bool(verify(wanted, parsed, timeout_seconds=None, raise_on_error=True))
    except (MemoryError, RecursionError):  # of the machinery: no verdict, where the library would say unequal
        raise
    except Exception:  # that a pair cannot be compared does not keep its other readings from being equal
        return bool(verify(wanted, parsed, timeout_seconds=None))


def _number(parsed: list[object]) -> float | None:
    for expression in parsed:
        if getattr(expression, "is_number", False) and getattr(expression, "is_real", False):
            return float(expression)  # type: ignore[arg-type]
    return None


def _near(wanted: float | None, number: float | None, tolerance: float) -> bool:
    return wanted is not None and number is not None and abs(wanted - number) <= tolerance * abs(wanted)


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
