"""Waiting for a change on one event loop, with a timeout: what the queue's and the store's shells share.

No lock and no condition: between a failed attempt and the taking of the event nothing else can run, so no
change is missed.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Changes:
    """Wakes everyone who waits, at each change; one event loop only, except `wake_threadsafe`."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def wake(self) -> None:
        """Let all waiters try again."""
        self._event.set()
        self._event = asyncio.Event()

    def wake_threadsafe(self) -> None:
        """Do `wake` from another thread; nothing to do before anyone has waited."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.wake)

    def close(self) -> None:
        """End every wait, now and from now on, with None."""
        self._closed = True
        self.wake()

    async def until(
        self, attempt: Callable[[], T | None], timeout_s: float, *, ended: Callable[[], bool] = lambda: False
    ) -> T | None:
        """Return what `attempt` first returns that is not None.

        None after `timeout_s`, after `close`, or once `ended` says that nobody wants it any more.
        """
        self._loop = asyncio.get_running_loop()
        deadline = self._loop.time() + timeout_s
        while not (self._closed or ended()):
            result = attempt()
            remaining_s = deadline - self._loop.time()
            if result is not None or remaining_s <= 0:
                return result
            event = self._event
            try:
                await asyncio.wait_for(event.wait(), remaining_s)
            except TimeoutError:
                continue  # one last attempt: a change may have come with the timeout
        return None
