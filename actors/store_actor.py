"""The weight store as an asynchronous Ray actor: long-polls, and objects that it owns.

A thin shell over `weight_store`. Receivers pull, and nobody waits for a receiver: a dead one hangs no one.
"""

import os
from collections.abc import Sequence
from typing import Any

from pgpo_async.actors.queue_types import ObjectStore
from pgpo_async.actors.ray_store import INLINE_BYTES, RayStore
from pgpo_async.actors.update_turns import UpdateTurns
from pgpo_async.actors.waiting import Changes
from pgpo_async.actors.weight_store import WeightStore
from pgpo_async.config.pipeline import WeightsConfig
from pgpo_async.contracts import BucketEntry, BucketPayload, BucketRoute, WeightManifest
from pgpo_async.metrics.vitals import vitals


class StoreActor:
    """See `WeightStore`; refs leave inside routes' lists, so that Ray hands them on unresolved."""

    def __init__(self, weights: WeightsConfig, *, store: ObjectStore | None = None) -> None:
        self._weights = WeightStore(weights.keep_versions, RayStore(INLINE_BYTES) if store is None else store)
        self._turns = UpdateTurns(weights.update_share, weights.turn_s)
        self._changes = Changes()

    async def add_bucket(self, version: int, entry: BucketEntry, data: bytes, base: int | None) -> None:
        """Take one bucket of a version to come; the arguments after `entry` are a `BucketPayload`'s."""
        self._weights.add_bucket(version, entry, BucketPayload(data=data, base=base))

    async def publish(
        self, manifest: WeightManifest, data: bytes | None = None, base: int | None = None
    ) -> int:
        """Make a version available and wake whoever waits for it; `data` is its last bucket, if not added."""
        if data is not None:
            await self.add_bucket(manifest.version, manifest.buckets[-1], data, base)
        version = self._weights.publish(manifest)
        self._changes.wake()
        return version

    async def pid(self) -> int:
        """Return this process: a sign of life, and whether it is still the same."""
        return os.getpid()

    async def status(self) -> dict[str, Any]:
        """Say what is held, and who serves what."""
        return {
            "latest": self._weights.latest,
            "num_bytes": self._weights.num_bytes,
            "served": dict(self._turns.served),
            **vitals(),
        }

    async def latest(self) -> int | None:
        """Return the newest version, None before the first."""
        return self._weights.latest

    async def wait_newer(self, than: int, timeout_s: float) -> int | None:
        """Wait for a version above `than` and return the newest; None at the timeout."""
        return await self._changes.until(lambda: self._newer(than), timeout_s)

    async def wait_turn(self, name: str, role: str, than: int, timeout_s: float) -> int | None:
        """Wait for a version above `than`, which the caller serves, and for its turn to load it.

        Returns the newest version, None at the timeout. The turn ends with `end_turn`.
        """
        self._turns.register(name, role, than)

        def attempt() -> int | None:
            newest = self._newer(than)
            return newest if newest is not None and self._turns.take(name, newest) else None

        return await self._changes.until(attempt, timeout_s, ended=lambda: name not in self._turns.served)

    async def end_turn(self, name: str, version: int) -> None:
        """End a receiver's turn: it serves `version` now."""
        self._turns.end(name, version)
        self._changes.wake()

    async def forget(self, name: str) -> None:
        """Drop a receiver that died, and its wait."""
        self._turns.forget(name)
        self._changes.wake()

    async def served(self) -> dict[str, int]:
        """Return the version that each receiver serves."""
        return dict(self._turns.served)

    async def pull(self, version: int) -> tuple[WeightManifest, list[BucketRoute]]:
        """Return a version's manifest and routes. Raises WeightError if it is not held (any more)."""
        return self._weights.pull(version)

    async def pull_newest(
        self, than: int, have: Sequence[int] = ()
    ) -> tuple[WeightManifest, list[BucketRoute]] | None:
        """Return the newest version's manifest and routes for a node that has some, if it is above `than`.

        The refs keep the objects alive for the receiver even if the store drops the version meanwhile.
        """
        version = self._newer(than)
        return None if version is None else self._weights.pull(version, have)

    async def close(self) -> None:
        """End every wait with nothing, from now on."""
        self._changes.close()

    def _newer(self, than: int) -> int | None:
        latest = self._weights.latest
        return latest if latest is not None and latest > than else None
