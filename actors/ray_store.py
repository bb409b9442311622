"""The Ray object store behind the `ObjectStore` protocol: what is put here is owned by this process."""

from typing import Any

import ray


class RayStore:
    """Puts bytes from the process it lives in; they live as long as that process and some ref."""

    def put(self, data: bytes) -> Any:
        """Return the object's ref. Raises ray's ObjectStoreFullError, if there is no room."""
        return ray.put(data)
