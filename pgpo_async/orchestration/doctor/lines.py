"""What a check says: one line for each thing it looked at, with what to do where something is wrong.

Owns the type. Standard library alone: the doctor has to answer where nothing else can
be imported. Called by every check.
"""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]

_LONGEST = 600


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One finding. `advice` is a command or a field to change: all but `ok` must have one."""

    level: Level
    name: str
    found: str
    advice: str = ""

    def __post_init__(self) -> None:
        if self.level != "ok" and not self.advice:
            raise ValueError(f"a {self.level} must say what to do, got none for {self.name}: {self.found}")


def ok(name: str, found: str) -> Line:
    """Nothing to do."""
    return Line(level="ok", name=name, found=_one_line(found))


def warning(name: str, found: str, advice: str) -> Line:
    """A run starts, but is slower, less safe or shorter than it could be."""
    return Line(level="warning", name=name, found=_one_line(found), advice=advice)


def error(name: str, found: str, advice: str) -> Line:
    """A run cannot start, or would end by itself."""
    return Line(level="error", name=name, found=_one_line(found), advice=advice)


def _one_line(text: str) -> str:
    """What others wrote may hold line ends, and bytes that mean something to a terminal."""
    return "".join(each if each.isprintable() else "?" for each in " ".join(text.split()))


def in_words(error: BaseException) -> str:
    """An exception as a part of one line; long ones are cut in the middle: ends and beginnings tell most."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return shortened(text)


def shortened(text: str, longest: int = _LONGEST) -> str:
    """A text of at most about so many characters, cut in the middle."""
    return text if len(text) <= longest else f"{text[: longest // 2]} ... {text[-longest // 2 :]}"
