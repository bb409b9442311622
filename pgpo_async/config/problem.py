"""`Problem`: what is wrong with a combination of fields, as `checks` and its neighbours find it."""

from dataclasses import dataclass

from pgpo_async.config.issues import Path


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """`fields` are paths from the top of the config, the one to blame first."""

    fields: tuple[Path, ...]
    message: str


def problem(message: str, *fields: str) -> Problem:
    """Return one of fields that are named with dots, numbers among them."""
    paths = tuple(tuple(int(key) if key.isdecimal() else key for key in f.split(".")) for f in fields)
    return Problem(fields=paths, message=message)
