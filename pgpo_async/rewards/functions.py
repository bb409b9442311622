"""Reward functions of the user's own, named by `module:function` or `path/to/file.py:function`.

Owns finding them and what is wrong with their names. Called by `verifier`.
"""

import difflib
import inspect
from collections.abc import Awaitable, Callable, Mapping
from types import ModuleType

from pgpo_async.contracts import ConfigError, Prompt
from pgpo_async.contracts.by_name import import_place, missing_file

Result = float | Mapping[str, float]
RewardFunction = Callable[[str, Prompt], Result | Awaitable[Result]]


def load_function(spec: str) -> RewardFunction:
    """Return the function. Its module is imported, once a process.

    Raises ConfigError if the module cannot be imported or has no such function; suggests a near name.
    """
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise ConfigError(f"reward.function must be 'module:function' or 'file.py:function', got {spec!r}")
    module = _import(place, spec)
    function = getattr(module, name, None)
    if function is None:
        names = [key for key, value in vars(module).items() if callable(value)]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f": did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"reward.function must name a function of {place}, got {name!r}{hint}")
    if not callable(function):
        raise ConfigError(f"reward.function must be callable, got {spec!r}, a {type(function).__name__}")
    return function  # type: ignore[no-any-return]


def is_async(function: RewardFunction) -> bool:
    """Whether what a function returns is to be awaited: an `async def`, or an object whose call is one."""
    call = getattr(function, "__call__", None)  # noqa: B004
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def _import(place: str, spec: str) -> ModuleType:
    if (missing := missing_file(place)) is not None:
        near = difflib.get_close_matches(*missing, n=1)
        hint = f": did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"reward.function must name an existing file, got {place!r}{hint}")
    try:
        return import_place(place, "pgpo_reward")
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"reward.function must be importable, got {spec!r}, which raised {type(error).__name__}: {error}"
        ) from error
