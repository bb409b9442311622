"""Values of a config as strangers may read them: no secrets, and nothing of where files lay.

Called by `base_model`, `recipe` and `card`.
"""

import json
from pathlib import PurePath
from typing import Any

from pgpo_async.config.masking import masked, masked_text


def published(value: Any) -> str:
    """Return a value in a line of text: secrets masked, of a file's absolute path the name only."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        text = " ".join(masked_text(value).split())
        return PurePath(text).name if PurePath(text).is_absolute() or text.startswith("~") else text
    return masked_text(json.dumps(_named(masked(value)), ensure_ascii=False, default=str))


def _named(value: Any) -> Any:
    """Take absolute paths out of nested values."""
    if isinstance(value, dict):
        return {key: _named(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_named(inner) for inner in value]
    return published(value) if isinstance(value, str) else value
