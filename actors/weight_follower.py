"""Keeps one engine on the newest weights: stages them, takes turns with the other generators to load them.

Owns when a version is loaded and what a failure means. Staging costs the engine nothing, so it happens before
the turn. A failure that shows before the engine is touched is tried again (`stager`); one inside the engine
leaves a mixture of weights, and one that never ends is no better: they are raised, end the generator, and
`orchestration` replaces it. The learner knows nothing of all this.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pgpo_async.actors.engine import RolloutEngine
from pgpo_async.actors.stager import Stager
from pgpo_async.actors.staging import NodeStaging
from pgpo_async.config.pipeline import WeightsConfig
from pgpo_async.contracts import WeightError, WeightVersion
from pgpo_async.metrics.spans import Spans

POLL_S = 2.0
KEPT_PAUSES = 256
"""The newest, for the summary's median and for the metrics."""


class WeightFollower:
    """Of one engine. `before_update` is awaited each time the engine is about to load."""

    def __init__(
        self,
        name: str,
        engine: RolloutEngine,
        *,
        store: Any,
        staging: NodeStaging,
        weights: WeightsConfig,
        spans: Spans,
        before_update: Callable[[], Awaitable[None]],
    ) -> None:
        self._name = name
        self._engine = engine
        self._store = store
        self._staging = staging
        self._weights = weights
        self._stager = Stager(name, store, staging, weights)
        self._spans = spans
        self._before_update = before_update
        self._loading = asyncio.Lock()
        self._loaded = asyncio.Condition()
        self._num_reloads = 0
        self.num_loads = 0
        self.pauses_s: deque[float] = deque(maxlen=KEPT_PAUSES)

    async def follow(self) -> None:
        """Load each newer version in turn, until cancelled. Raises what the engine cannot survive."""
        while True:
            if await self._store.wait_newer.remote(self._engine.version, POLL_S) is None:
                continue
            async with self._loading:
                staged = await self._staged()
            if staged is not None:
                with self._staging.reading(Path(staged.folder)):
                    await self._load_in_turn(staged)

    async def _load_in_turn(self, staged: WeightVersion) -> None:
        while self._engine.version < staged.version:
            version = self._engine.version
            if await self._store.wait_turn.remote(self._name, "generator", version, POLL_S) is None:
                continue
            try:
                async with self._loading:
                    await self._load(staged)
            finally:
                self._store.end_turn.remote(self._name, self._engine.version)

    async def load_newest(self) -> None:
        """Load the newest version, if there is one that is newer, now and out of turn."""
        async with self._loading:
            staged = await self._staged()
            if staged is not None:
                with self._staging.reading(Path(staged.folder)):
                    await self._load(staged)

    async def reload(self) -> None:
        """Load the newest version even if it is the one served, with no cache of before; out of turn."""
        async with self._loading:
            staged = await asyncio.to_thread(self._stager.stage, -1)
            if staged is None:  # none was published: what the engine has is what it was started with
                return
            self._num_reloads += 1
            self._engine.forget_versions(f"{self._name}.{self._num_reloads}")
            with self._staging.reading(Path(staged.folder)):
                await self._load(staged)

    async def _staged(self) -> WeightVersion | None:
        with self._spans.span("stage weights"):
            return await asyncio.to_thread(self._stager.stage, self._engine.version)

    async def _load(self, staged: WeightVersion) -> None:
        if self._engine.version >= staged.version:  # loaded out of turn meanwhile
            return
        await self._before_update()
        with self._spans.span("update pause", version=staged.version):
            await self._load_in_time(staged)

    async def _load_in_time(self, staged: WeightVersion) -> None:
        timeout_s = self._weights.load_timeout_s
        try:
            pause_s = await asyncio.wait_for(
                self._engine.load_weights(staged.folder, staged.version), timeout_s
            )
        except TimeoutError:
            raise WeightError(
                f"loading weight version {staged.version} must end within weights.load_timeout_s, "
                f"got no end after {timeout_s:.0f} s"
            ) from None
        self.num_loads += 1
        self.pauses_s.append(pause_s)
        async with self._loaded:
            self._loaded.notify_all()

    async def reach(self, version: int, timeout_s: float) -> bool:
        """Wait until the engine serves at least `version`; False if it does not within `timeout_s`."""
        try:
            async with self._loaded, asyncio.timeout(timeout_s):
                await self._loaded.wait_for(lambda: self._engine.version >= version)
        except TimeoutError:
            return False
        return True

    async def stop(self, following: asyncio.Task[None]) -> None:
        """End `follow`, but not in the middle of staging or loading: half a version is of no use."""
        async with self._loading:
            following.cancel()
