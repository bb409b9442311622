"""Waiting for a change on one event loop, with a timeout: what the queue's and the store's shells share.

A change makes the loop try all waiting attempts again, in the order they came, without resuming their
coroutines: only one that got something goes on. However many changes come before the loop's next turn, the
attempts are made once. No lock: between a failed attempt and its waiting nothing else can run, so no change
is missed.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Changes:
    """Tries everyone who waits again, after each change; one event loop only, except `wake_threadsafe`."""

    def __init__(self) -> None:
        self._waiters: dict[_Waiter[object], None] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._woken = False

    def wake(self) -> None:
        """Let all waiters try again, soon."""
        if self._waiters and not self._woken:
            assert self._loop is not None, "who waits has said on which loop"
            self._woken = True
            self._loop.call_soon(self._retry)

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
        """Return what `attempt` first returns that is not None; raises what it raises.

        None after `timeout_s`, after `close`, or once `ended` says that nobody wants it any more.
        """
        self._loop = asyncio.get_running_loop()
        waiter = _Waiter(attempt, lambda: self._closed or ended(), self._loop.create_future())
        waiter.try_again(last=timeout_s <= 0)
        if waiter.result.done():
            return waiter.result.result()
        self._waiters[waiter] = None
        # One last attempt: a change may have come with the timeout.
        timer = self._loop.call_later(timeout_s, waiter.try_again, True)
        try:
            return await waiter.result
        finally:
            timer.cancel()
            del self._waiters[waiter]

    def _retry(self) -> None:
        # First: what an attempt changes may be what one before it waits for.
        self._woken = False
        for waiter in list(self._waiters):
            waiter.try_again()


class _Waiter(Generic[T]):
    """An attempt and the future of its result."""

    def __init__(
        self, attempt: Callable[[], T | None], ended: Callable[[], bool], result: "asyncio.Future[T | None]"
    ) -> None:
        self._attempt, self._ended, self.result = attempt, ended, result

    def try_again(self, last: bool = False) -> None:
        """Make the attempt unless it has a result; nothing is the result too once it ended, or at `last`."""
        if self.result.done():
            return
        if self._ended():
            self.result.set_result(None)
            return
        try:
            found = self._attempt()
        except Exception as error:
            self.result.set_exception(error)
            return
        if found is not None or last:
            self.result.set_result(found)
