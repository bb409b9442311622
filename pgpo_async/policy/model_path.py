"""Where a model is: a folder, a hub name, or one that is shipped. Light: neither torch nor transformers.

Owns what `model.path` may say. Called by `loading`, and by actors and checks that load nothing themselves.
"""

import re
from pathlib import Path

from pgpo_async.config.masking import masked_text
from pgpo_async.contracts import ConfigError
from pgpo_async.demo.tiny_vlm import tiny_vlm_objects_path, tiny_vlm_path

_BUILTIN = {"builtin:tiny-vlm": tiny_vlm_path, "builtin:tiny-vlm-objects": tiny_vlm_objects_path}
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")


def resolve_model_path(path: str) -> str:
    """A folder that holds a model, or a hub name as it is.

    Raises ConfigError if the path is neither, or a folder without `config.json`.
    """
    if path.startswith("builtin:"):
        return _builtin_path(path)
    folder = Path(path).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ConfigError(f"model.path must be a model's folder, got {path!r}, which has no config.json")
        return str(folder)
    if not _HUB_NAME.fullmatch(path):
        raise ConfigError(
            f"model.path must be an existing folder, a hub name (owner/name) or one of {sorted(_BUILTIN)}, "
            f"got {masked_text(path)!r}: check the path, or download the model there"
        )
    return path


def _builtin_path(name: str) -> str:
    if name not in _BUILTIN:
        raise ConfigError(f"model.path must be one of {sorted(_BUILTIN)} if it starts so, got {name!r}")
    try:
        return str(_BUILTIN[name]())
    except FileNotFoundError as error:
        raise ConfigError(f"model.path {name!r} is not installed: {error}") from error
