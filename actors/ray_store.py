"""The Ray object store behind the `ObjectStore` protocol: what is put here is owned by this process."""

from collections.abc import Sequence
from typing import Any

import ray

INLINE_BYTES = 16_384
"""Up to here a payload is cheaper carried by every message that names it. Measured in CPU time, an object's
put, its borrowing by each process that sees its ref, and its reading cost several calls."""


class RayStore:
    """Puts bytes from the process it lives in; they live as long as that process and some ref.

    Up to `inline_bytes` the ref is the data itself: `fetch` reads either.
    """

    def __init__(self, inline_bytes: int = 0) -> None:
        self._inline_bytes = inline_bytes

    def put(self, data: bytes) -> Any:
        """Return the object's ref. Raises ray's ObjectStoreFullError, if there is no room."""
        return data if len(data) <= self._inline_bytes else ray.put(data)


def fetch(refs: Sequence[Any], timeout_s: float) -> list[bytes]:
    """Return the data behind refs from `RayStore.put`, in order. Raises as `ray.get`."""
    objects = [ref for ref in refs if isinstance(ref, ray.ObjectRef)]
    values = iter(ray.get(objects, timeout=timeout_s) if objects else ())
    return [next(values) if isinstance(ref, ray.ObjectRef) else ref for ref in refs]
