"""The replay queue as an asynchronous Ray actor: waiting with timeouts, ticks, and objects that it owns.

A thin shell: every rule is in `replay_queue`. Payloads come by value and are put from this process, since a
Ray object dies with the process that owns it, and generators die. Refs leave inside `Lease`s, so that Ray
hands them on unresolved. Placed by `orchestration` with a high max_concurrency (each waiting call takes one).
Every waiting method returns nothing at its timeout: callers loop, and raise WaitTimeout with `stats` when
they have waited too long.
"""

import asyncio
import dataclasses
import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pgpo_async.actors.journal import Journal
from pgpo_async.actors.prompt_prefetch import PromptPrefetch
from pgpo_async.actors.queue_memory import QueueMemory
from pgpo_async.actors.queue_state import QueueState
from pgpo_async.actors.queue_types import (
    AdmissionGate,
    Disposition,
    Lease,
    ObjectStore,
    PromptSource,
    QueueLook,
    QueueStats,
    Reservation,
)
from pgpo_async.actors.ray_store import INLINE_BYTES, RayStore
from pgpo_async.actors.replay_queue import ReplayQueue
from pgpo_async.actors.waiting import Changes
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import Accounting, GroupHeader, LeaseError
from pgpo_async.metrics.vitals import vitals

TICK_S = 1.0
PREFETCH_DEPTH = 16

T = TypeVar("T")
logger = logging.getLogger(__name__)


class QueueActor:
    """See `ReplayQueue` for what the methods mean; those with `timeout_s` wait.

    `journal` is the folder of what must outlive this process: Ray starts another with the same arguments
    (`max_restarts`), which begins where this one ended, and answers the calls that were under way.
    """

    def __init__(
        self,
        config: RunConfig,
        admission: AdmissionGate,
        source: PromptSource,
        *,
        journal: Path | None = None,
        store: ObjectStore | None = None,
    ) -> None:
        self._changes = Changes()
        self._memory = _memory(config, journal)
        self._prefetch = PromptPrefetch(source, PREFETCH_DEPTH, self._changes.wake_threadsafe)
        self._queue = ReplayQueue(
            admission=admission,
            source=self._prefetch,
            store=RayStore(INLINE_BYTES) if store is None else store,
            max_lag=config.max_lag,
            config=config.queue,
            group_filter=config.algorithm.filter,
            memory=self._memory,
            scoring=config.uses_scorers,
            in_turns=config.mode == "sync",
        )
        # How often each holder was released: a wait begun before that must not give a dead actor anything.
        self._deaths: Counter[str] = Counter()
        self._began_s = time.monotonic()
        self._beats: dict[str, tuple[float, str, float]] = {}
        self._paused = False
        # Likewise a wait begun before the queue went back.
        self._num_rewinds = 0
        self._ticker: asyncio.Task[None] | None = None

    # What waits

    async def reserve(self, holder: str, timeout_s: float, most: int = 1) -> list[Reservation]:
        """Wait for a prompt and a slot, and take up to `most` of those there are; empty at the timeout."""

        def attempt() -> list[Reservation] | None:
            if self._queue.recall():
                self._changes.wake()
            taken: list[Reservation] = []
            if self._paused:
                return None
            while len(taken) < most and (reservation := self._queue.reserve(holder)) is not None:
                taken.append(reservation)
            return taken or None

        return await self._wait(holder, attempt, timeout_s) or []

    async def lease_for_scoring(
        self, holder: str, max_groups: int, timeout_s: float, linger_s: float = 0.0
    ) -> list[Lease]:
        """Wait up to `linger_s` for `max_groups` generated groups, then for one; empty at the timeout.

        A fuller pass costs less a group, as long as the learner does not wait for it.
        """

        def full() -> list[Lease] | None:
            enough = self._queue.num_generated >= max_groups or self._queue.learner_waits
            return self._queue.lease_for_scoring(holder, max_groups) or None if enough else None

        leases = await self._wait(holder, full, linger_s) if linger_s > 0 else None
        if leases is None:
            leases = await self._wait(
                holder, lambda: self._queue.lease_for_scoring(holder, max_groups) or None, timeout_s
            )
        return leases or []

    async def lease_batch(
        self, holder: str, version: int, num_groups: int, timeout_s: float, ahead: bool = False
    ) -> list[Lease] | None:
        """Wait for a whole batch within the lag; None at the timeout."""
        return await self._wait(
            holder,
            lambda: self._queue.lease_batch(holder, version, num_groups, ahead=ahead),
            timeout_s,
        )

    # What does not

    async def commit(
        self, group_id: str, holder: str, payload: bytes, header: GroupHeader, *more: bytes
    ) -> Disposition:
        """Bring a generated group; its payload may come in parts (`call_parts.in_parts`)."""
        whole = b"".join((payload, *more))
        return self._change(lambda: self._queue.commit(group_id, holder, whole, header))

    async def lease_backlog(self, holder: str, max_groups: int) -> list[Lease]:
        """Lend `max_groups` generated groups if there are as many, else none."""
        if self._queue.num_generated < max_groups:
            return []
        return self._change(lambda: self._queue.lease_for_scoring(holder, max_groups))

    async def give_back(self, group_id: str, holder: str) -> None:
        """Return a reserved prompt."""
        self._change(lambda: self._queue.give_back(group_id, holder))

    async def over_age(self, holder: str, started: Mapping[str, int]) -> list[str]:
        """Return which groups in flight are too old to be trained."""
        return self._queue.over_age(holder, started)

    async def cancel(self, group_id: str, holder: str) -> None:
        """Give up a group that is over age."""
        self._change(lambda: self._queue.cancel(group_id, holder))

    async def quarantine(self, group_id: str, holder: str, reason: str, error_text: str) -> None:
        """End a group that cannot be used."""
        self._change(lambda: self._queue.quarantine(group_id, holder, reason, error_text))

    async def commit_scores(
        self, group_id: str, holder: str, payload: bytes, header: GroupHeader | None = None, *more: bytes
    ) -> Disposition:
        """Bring a scored group; its payload may come in parts (`call_parts.in_parts`)."""
        whole = b"".join((payload, *more))
        return self._change(lambda: self._queue.commit_scores(group_id, holder, whole, header))

    async def commit_several_scores(self, holder: str, payloads: Mapping[str, bytes]) -> None:
        """Bring scored groups by their ids in one message; those whose lease was lost are passed over."""
        for group_id, payload in payloads.items():
            try:
                self._change(lambda: self._queue.commit_scores(group_id, holder, payload))  # noqa: B023
            except LeaseError as error:
                logger.warning("%s: scores of group %s came too late: %s", holder, group_id, error)

    async def abandon(self, group_ids: Sequence[str], holder: str) -> None:
        """Return groups leased for scoring or training."""
        self._change(lambda: self._queue.abandon(group_ids, holder))

    async def heartbeat(self, holder: str, doing: str = "", stalled_s: float = 0.0) -> int:
        """Refresh all leases of a holder, and note what it says of itself."""
        self._beats[holder] = (time.monotonic(), doing, stalled_s)
        return self._queue.heartbeat(holder)

    async def beats(self) -> dict[str, Any]:
        """Return the process, for how long it has listened, and of each holder the seconds since its last
        heartbeat and what it said.
        """
        now_s = time.monotonic()
        beats = {name: (now_s - at_s, *said) for name, (at_s, *said) in self._beats.items()}
        return {"pid": os.getpid(), "listened_s": now_s - self._began_s, "beats": beats}

    async def release_holder(self, holder: str) -> int:
        """End all leases of a dead actor, and its waits. An actor of the same name may follow it."""
        self._deaths[holder] += 1
        self._beats.pop(holder, None)
        return self._change(lambda: self._queue.release_holder(holder))

    async def pause_intake(self, paused: bool) -> None:
        """Draw no prompts while paused; what was drawn goes on. A queue that is restarted is not paused."""
        self._paused = paused
        self._changes.wake()

    async def look(self) -> QueueLook:
        """Return a snapshot and the quarantine records since the last look."""
        return QueueLook(
            stats=self._queue.stats(), quarantined=tuple(self._queue.take_quarantined()), generated={}
        )

    async def finish_step(
        self, group_ids: Sequence[str], holder: str, version: int | None = None
    ) -> QueueLook:
        """Count a batch as trained and return a look with what was generated meanwhile."""
        self._change(lambda: self._queue.ack(group_ids, holder, version))
        return dataclasses.replace(await self.look(), generated=self._queue.take_generated())

    async def accounting(self) -> Accounting:
        """Return where every drawn prompt is."""
        return self._queue.accounting()

    async def mark(self, name: str) -> QueueState:
        """Write down the state under a checkpoint's name, and return it."""
        return self._change(lambda: self._queue.mark(name))

    async def forget_before(self, name: str) -> None:
        """Never go back beyond a mark from now on."""
        self._change(lambda: self._queue.forget_before(name))

    async def rewind(self, name: str, state: QueueState, at: int, to: int) -> None:
        """Go back to a checkpoint; what was version `at` then is version `to` from now on."""
        self._num_rewinds += 1
        self._change(lambda: self._queue.rewind(name, state, at=at, to=to))

    async def stats(self) -> QueueStats:
        """Return a snapshot of the queue."""
        return self._queue.stats()

    async def status(self) -> dict[str, Any]:
        """Return a snapshot and this process's own figures."""
        return {"stats": self._queue.stats(), **vitals()}

    async def close(self) -> None:
        """End every wait with nothing, from now on; the groups stay readable."""
        self._changes.close()
        self._prefetch.close()
        if self._ticker is not None:
            self._ticker.cancel()
        self._memory.close()

    def _change(self, operation: Callable[[], T]) -> T:
        try:
            return operation()
        finally:
            # Also after an error: an acknowledgement may have freed slots before it found a lost lease.
            self._changes.wake()

    async def _wait(self, holder: str, attempt: Callable[[], T | None], timeout_s: float) -> T | None:
        if self._ticker is None:
            self._ticker = asyncio.create_task(self._tick())
        began = self._deaths[holder], self._num_rewinds
        result = await self._changes.until(
            attempt, timeout_s, ended=lambda: (self._deaths[holder], self._num_rewinds) != began
        )
        if result is not None:
            self._changes.wake()
        return result

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            try:
                if self._queue.expire() + self._queue.recall():
                    self._changes.wake()
            except Exception:
                # The tick must go on: without it no lost lease would ever come back.
                logger.exception("the replay queue could not expire its leases")


def _memory(config: RunConfig, folder: Path | None) -> QueueMemory:
    journal = config.queue.journal
    if folder is None or not journal.enabled:
        return QueueMemory()
    return QueueMemory(Journal(folder, sync_s=journal.sync_s), max_bytes=journal.max_bytes)
