"""All rows of a source, looked at in order by several processes; memory holds a few pieces of facts.

Owns the cutting into pieces and the processes. Called by `findings`' users.
"""

import multiprocessing
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor

from pgpo_async.data.checking.row_facts import RowFacts, RowReading

ROWS_A_PIECE = 32
MIN_ROWS_FOR_PROCESSES = 1000
"""Fewer are read before a second process has started."""

_reading: RowReading | None = None


def scan(reading: RowReading, num_rows: int, *, num_processes: int) -> Iterator[RowFacts]:
    """Yield the facts of the first `num_rows` rows, in order."""
    if num_processes <= 1 or num_rows < MIN_ROWS_FOR_PROCESSES:
        yield from reading.facts(range(num_rows))
        return
    pieces = (range(start, min(start + ROWS_A_PIECE, num_rows)) for start in range(0, num_rows, ROWS_A_PIECE))
    waiting: deque[Future[list[RowFacts]]] = deque()
    # Spawned: a fork would copy the threads' locks of whatever is loaded here.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_processes, context, initializer=_begin, initargs=(reading,)) as pool:
        try:
            for piece in pieces:
                waiting.append(pool.submit(_look, piece))
                if len(waiting) > 2 * num_processes:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _begin(reading: RowReading) -> None:
    global _reading
    _reading = reading


def _look(piece: range) -> list[RowFacts]:
    assert _reading is not None, "the pool's initializer ran"
    return list(_reading.facts(piece))
