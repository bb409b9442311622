"""How messages list the names that would have been right, and guess which one was meant."""

import difflib
from collections.abc import Iterable


def listed(names: Iterable[str]) -> str:
    """The names in order, or that there are none."""
    return ", ".join(sorted(names)) or "(it has none)"


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The name that was probably meant, or None."""
    return next(iter(difflib.get_close_matches(word, list(names), n=1)), None)


def did_you_mean(word: str, names: Iterable[str]) -> str:
    """The nearest name as the end of a message; empty if none is near."""
    meant = nearest(word, names)
    return "" if meant is None else f"; did you mean {meant!r}?"
