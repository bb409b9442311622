"""One thing wrong with a config: where, in which field, what. Made by this package's readers and checks."""

from dataclasses import dataclass

Path = tuple[str | int, ...]
"""From the top of the config to a value: keys of mappings, indices of lists."""


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Place:
    """Where a value was written. Places sort as they are read: the file from its top, then the overrides."""

    source: int
    """0 is the file, n the n-th override, below 0 are the files that it extends."""
    line: int = 0
    """From 1; 0 where a position makes no sense."""
    column: int = 0
    """From 1."""
    label: str
    """As printed: `file:line:column` or `override 'KEY=VALUE'`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Issue:
    """Prints as `place: field: message`, or without the field where it is of none.

    `path` is of the value that cannot be trusted; () is all of them, None is none of them.
    """

    place: Place
    path: Path | None
    message: str

    def __str__(self) -> str:
        parts = (self.place.label, field_name(self.path or ()), self.message)
        return ": ".join(part for part in parts if part)


def field_name(path: Path) -> str:
    """Return the path as a user writes it: `learner.optimizer.betas[1]`."""
    text = ""
    for key in path:
        text += f"[{key}]" if isinstance(key, int) else f".{key}"
    return text.removeprefix(".")
