"""Values as every reader of JSON takes them: numbers that JSON has none for (NaN, infinities) as null."""

import math
from collections.abc import Mapping
from typing import Any


def strict(value: Any) -> Any:
    """The value, with what is in it, ready for `json.dumps(..., allow_nan=False)`."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    return value
