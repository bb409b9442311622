"""Code of the user's own, named by `module` or `path/to/file.py`: what crosses to a process is the name.

Owns the import, once a process. What is wrong with a name is told by those who know its field:
`rewards.functions`, `algorithms.shaping.custom`.
"""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from pgpo_async.contracts.rollouts import content_hash


def missing_file(place: str) -> tuple[str, list[str]] | None:
    """The name of a file that is not there, and those beside it; None for a file that is, or a module."""
    path = _path(place)
    if not place.endswith(".py") or path.is_file():
        return None
    return path.name, [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []


def import_place(place: str, prefix: str) -> ModuleType:
    """Import a module, or a file as a module whose name begins with `prefix`.

    Raises whatever the import raises; a file that failed is tried again next time.
    """
    if not place.endswith(".py"):
        return importlib.import_module(place)
    path = _path(place)
    module_name = f"{prefix}_{path.stem}_{content_hash(str(path).encode())[:8]}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None  # the name ends with .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses in the file look their module up while it loads
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    return module


def _path(place: str) -> Path:
    return Path(place).expanduser().resolve()
