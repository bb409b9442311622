"""A shaper by its name in the config. The only place that knows all methods."""

import inspect
from collections.abc import Callable, Mapping

from pgpo_async.algorithms.shaping.custom import check_declarations, load_shaper_class
from pgpo_async.algorithms.shaping.interface import Shaper
from pgpo_async.algorithms.shaping.names import did_you_mean, listed
from pgpo_async.algorithms.shaping.none import NoneShaper
from pgpo_async.algorithms.shaping.papo import PapoShaper
from pgpo_async.algorithms.shaping.pepo import PepoShaper
from pgpo_async.algorithms.shaping.pgpo import PgpoShaper
from pgpo_async.algorithms.shaping.tor import TorShaper
from pgpo_async.algorithms.shaping.vppo import VppoShaper

SHAPERS: Mapping[str, Callable[..., Shaper]] = {
    "pgpo": PgpoShaper,
    "none": NoneShaper,
    "vppo": VppoShaper,
    "papo": PapoShaper,
    "tor": TorShaper,
    "pepo": PepoShaper,
}


def make_shaper(name: str, **params: object) -> Shaper:
    """Build the shaper `name` with these parameters, its defaults for the rest.

    `name` is a key of `SHAPERS`, or `module:Class` or `path/to/file.py:Class` for one of the user's own.

    Raises:
        ValueError: an unknown name or parameter (the message offers the nearest known one), a parameter that
            is missing or out of range, or a class of the user's that is no shaper.
    """
    if ":" not in name and name not in SHAPERS:
        raise ValueError(
            f"shaper must be one of {listed(SHAPERS)}, or 'module:Class', "
            f"got {name!r}{did_you_mean(name, SHAPERS)}"
        )
    factory = load_shaper_class(name) if ":" in name else SHAPERS[name]
    _check_parameters(name, factory, params)
    shaper = factory(**params)
    if ":" in name:
        check_declarations(shaper, name)
    return shaper


def _check_parameters(name: str, factory: Callable[..., Shaper], params: Mapping[str, object]) -> None:
    known = inspect.signature(factory).parameters
    takes_any = any(param.kind is param.VAR_KEYWORD for param in known.values())
    for param in params:
        if param not in known and not takes_any:
            raise ValueError(
                f"parameter of shaper {name!r} must be one of {listed(known)}, "
                f"got {param!r}{did_you_mean(param, known)}"
            )
    for param, declared in known.items():
        variadic = declared.kind in (declared.VAR_KEYWORD, declared.VAR_POSITIONAL)
        if declared.default is declared.empty and not variadic and param not in params:
            raise ValueError(f"parameter {param!r} of shaper {name!r} must be given, it has no default")
