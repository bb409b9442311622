"""A shaper by its name in the config. The only place that knows all methods."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping

from pgpo_async.algorithms.shaping.interface import Shaper
from pgpo_async.algorithms.shaping.none import NoneShaper
from pgpo_async.algorithms.shaping.pgpo import PgpoShaper

SHAPERS: Mapping[str, Callable[..., Shaper]] = {"none": NoneShaper, "pgpo": PgpoShaper}


def make_shaper(name: str, **params: object) -> Shaper:
    """Build the shaper `name` with these parameters, its defaults for the rest.

    Raises:
        ValueError: an unknown name or parameter (the message offers the nearest known one), or a parameter
            out of range.
    """
    if name not in SHAPERS:
        raise ValueError(
            f"shaper must be one of {_known(SHAPERS)}, got {name!r}{_did_you_mean(name, SHAPERS)}"
        )
    factory = SHAPERS[name]
    known = inspect.signature(factory).parameters
    for param in params:
        if param not in known:
            raise ValueError(
                f"parameter of shaper {name!r} must be one of {_known(known)}, "
                f"got {param!r}{_did_you_mean(param, known)}"
            )
    return factory(**params)


def _known(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "(it has none)"


def _did_you_mean(word: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(names), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
