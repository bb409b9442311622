"""Work done one item ahead, in a thread: images are decoded while the device computes.

Called by `passes` and the learner.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def ahead(jobs: Iterable[Callable[[], Result]]) -> Iterator[Result]:
    """Results in order; while one is used the next is made. At most two are alive.

    A job's exception is raised in its turn; the jobs after it are not run.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead") as pool:
        waiting: Future[Result] | None = None
        for job in jobs:
            current, waiting = waiting, pool.submit(job)
            if current is not None:
                try:
                    result = current.result()
                except BaseException:
                    waiting.cancel()
                    raise
                # Not kept here: with the consumer done, its result can go while the next is made.
                del current
                yield result
                del result
        if waiting is not None:
            yield waiting.result()
