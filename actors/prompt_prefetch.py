"""Reads prompts ahead in a thread, so that a source's disk or network never stops the queue's event loop.

Owns the thread and the few prompts read ahead. The order stays the source's: the queue asks by index, this
only answers sooner or says "not yet". Used by `queue_actor`.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from pgpo_async.actors.queue_types import PromptSource
from pgpo_async.contracts import Prompt


class PromptPrefetch:
    """A PromptSource over another, with `depth` indices read ahead.

    Calls `on_ready`, in its thread, after what is read while a prompt was asked for in vain.
    """

    def __init__(self, source: PromptSource, depth: int, on_ready: Callable[[], None]) -> None:
        if depth < 1:
            raise ValueError(f"prefetch depth must be at least 1, got {depth}")
        self._source = source
        self._depth = depth
        self._on_ready = on_ready
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prompt-prefetch")
        self._futures: dict[int, Future[Prompt | None]] = {}
        self._frontier = 0
        self._is_awaited = False

    def prompt(self, index: int) -> Prompt | None:
        """Return the prompt if it has been read; None otherwise, and then it is being read.

        Raises what the source raised, once: asking again reads again.
        """
        # Indices are asked for in rising order; what lies below is not asked for again.
        for old in [i for i in self._futures if i < index]:
            self._futures.pop(old).cancel()
        for wanted in (index, *range(max(index + 1, self._frontier), index + self._depth)):
            self._read(wanted)
        self._frontier = max(self._frontier, index + self._depth)
        future = self._futures[index]
        # Said before it is looked at: the thread, once done, looks at what was said.
        self._is_awaited = True
        if not future.done():
            return None
        self._is_awaited = False
        if future.exception() is not None or future.result() is None:
            del self._futures[index]
        return future.result()

    def _read(self, index: int) -> None:
        if index not in self._futures:
            future = self._thread.submit(self._source.prompt, index)
            self._futures[index] = future
            future.add_done_callback(self._tell)

    def _tell(self, _: Future[Prompt | None]) -> None:
        # Waking the event loop for each prompt would cost more than handing the prompt out.
        if self._is_awaited:
            self._on_ready()

    def close(self) -> None:
        """Read no more; does not wait for a read under way."""
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._futures.clear()
