"""Reward functions of the user's own, named by `module:function` or `path/to/file.py:function`.

Owns finding and loading them. Called by `verifier`.
"""

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

from pgpo_async.contracts import ConfigError, Prompt, content_hash

RewardFunction = Callable[[str, Prompt], float | Mapping[str, float]]


def load_function(spec: str) -> RewardFunction:
    """Return the function. Its module is imported, once a process.

    Raises ConfigError if the module cannot be imported or has no such function; suggests a near name.
    """
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise ConfigError(f"reward.function must be 'module:function' or 'file.py:function', got {spec!r}")
    module = _import_file(place, spec) if place.endswith(".py") else _import_module(place, spec)
    function = getattr(module, name, None)
    if function is None:
        names = [key for key, value in vars(module).items() if callable(value)]
        near = difflib.get_close_matches(name, names, n=1)
        hint = f": did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"reward.function must name a function of {place}, got {name!r}{hint}")
    if not callable(function):
        raise ConfigError(f"reward.function must be callable, got {spec!r}, a {type(function).__name__}")
    return function  # type: ignore[no-any-return]


def _import_module(place: str, spec: str) -> ModuleType:
    try:
        return importlib.import_module(place)
    except Exception as error:
        raise _not_imported(spec, error) from error


def _import_file(place: str, spec: str) -> ModuleType:
    path = Path(place).expanduser().resolve()
    if not path.is_file():
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, names, n=1)
        hint = f": did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"reward.function must name an existing file, got {place!r}{hint}")
    module_name = f"pgpo_reward_{path.stem}_{content_hash(str(path).encode())[:8]}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    module_spec = importlib.util.spec_from_file_location(module_name, path)
    assert module_spec is not None  # the name ends with .py
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_name] = module  # dataclasses in the file look their module up while it loads
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        raise _not_imported(spec, error) from error
    return module


def _not_imported(spec: str, error: Exception) -> ConfigError:
    return ConfigError(
        f"reward.function must be importable, got {spec!r}, which raised {type(error).__name__}: {error}"
    )
