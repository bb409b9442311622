"""The reward actor: scores groups in a child process that can be killed at a deadline.

Owns the child's life: started warm, killed when late, replaced when dead, never outliving the actor. What a
reward is belongs to `rewards`; the code inside the child to `reward_child`. A child, because math-verify
needs a main thread, and because only a process can be stopped whatever it does. Placed by the orchestration
as a threaded Ray actor (`max_concurrency` > 1: waiting calls queue up); generators call `score`.
"""

import concurrent.futures
import multiprocessing
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any

from pebble import ProcessExpired, ProcessPool

from pgpo_async.actors.reward_child import VerifierSpec, score_texts, start_child, warm_up
from pgpo_async.config.pipeline import RewardConfig
from pgpo_async.contracts import PgpoError, Prompt, RewardError, RewardTimeout, WaitTimeout
from pgpo_async.rewards.verifier import RewardParts

Future = concurrent.futures.Future[Any]

START_TIMEOUT_S = 120.0
"""Longest a child may take to start: Python, math-verify, the user's module, on a busy machine."""


class RewardWorker:
    """Scores one group at a time; calls from several threads wait for each other.

    Not an async class on purpose: Ray would then run its calls on one event loop, where they would block.
    """

    def __init__(self, config: RewardConfig, *, start_timeout_s: float = START_TIMEOUT_S) -> None:
        self._timeout_s = config.timeout_s
        self._start_timeout_s = start_timeout_s
        self._spec: VerifierSpec = (config.accuracy_weight, config.format_weight, config.function)
        self._lock = threading.Lock()
        self._futures: set[Future] = set()
        self._pool: ProcessPool | None = None
        self._closed = False
        # The kernel kills a child when the *thread* that started it ends, so one that never ends starts them.
        self._keeper = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="reward-keeper")

    def prepare(self) -> None:
        """Start the child, so that no group waits for it.

        Raises ConfigError if the reward function cannot be loaded, WaitTimeout if loading does not end.
        """
        try:
            self._run("the reward process to start", None, warm_up, self._spec)
        except RewardTimeout as error:
            raise WaitTimeout("the reward process to start", self._start_timeout_s) from error

    def score(self, texts: Sequence[str], prompt: Prompt) -> list[RewardParts]:
        """Return one reward for each response text, in order.

        Raises RewardTimeout if they take longer than `reward.timeout_s` together, RewardError with reason
        "reward_crashed" if the child dies, "reward_closed" after `close`, "reward_error" or
        "reward_invalid" as `Verifier.score`. The next call works in each case but after `close`.
        """
        if self._spec[2] is None:
            prompt = replace(prompt, images=())  # only a function of the user's may want to see them
        what = f"the rewards of {len(texts)} responses to prompt {prompt.prompt_id}"
        scored: list[RewardParts] = self._run(
            what, self._timeout_s, score_texts, self._spec, list(texts), prompt
        )
        return scored

    def close(self) -> None:
        """Kill the child; calls that wait fail. Idempotent."""
        with self._lock:
            self._closed = True
            self._drop_pool()
        self._keeper.shutdown(wait=True)

    def _run(self, what: str, timeout_s: float | None, function: Callable[..., Any], *args: Any) -> Any:
        try:
            return self._attempt(what, timeout_s, function, *args)
        except BrokenProcessPool:
            pass  # the child died while idle (out of memory, for instance): not this group's fault
        try:
            return self._attempt(what, timeout_s, function, *args)
        except BrokenProcessPool as error:
            raise RewardError(f"{what}: the reward process died twice", reason="reward_crashed") from error

    def _attempt(self, what: str, timeout_s: float | None, function: Callable[..., Any], *args: Any) -> Any:
        pool, future, num_waiting = self._schedule(function, args, timeout_s)
        # The pool's own clock runs once the child has taken the task; this one bounds the wait for that.
        longest_s = num_waiting * (self._start_timeout_s + (timeout_s or 0.0))
        try:
            return future.result(timeout=longest_s)
        except concurrent.futures.TimeoutError as error:
            if future.done():
                raise RewardTimeout(f"{what}: must come within {timeout_s} s: killed the process") from error
            self._discard(pool)
            raise RewardTimeout(f"{what}: must be begun within {longest_s:.0f} s, got no process") from error
        except ProcessExpired as error:
            message = f"{what}: the reward process died with exit code {error.exitcode}"
            raise RewardError(message, reason="reward_crashed") from error
        except concurrent.futures.CancelledError as error:
            raise BrokenProcessPool("the reward process was stopped") from error
        except (PgpoError, BrokenProcessPool):
            raise
        except Exception as error:
            raise RewardError(f"{what}: {type(error).__name__}: {error}") from error
        finally:
            with self._lock:
                self._futures.discard(future)

    def _schedule(
        self, function: Callable[..., Any], args: Sequence[Any], timeout_s: float | None
    ) -> tuple[ProcessPool, Future, int]:
        with self._lock:
            if self._closed:
                raise RewardError("the reward actor must be open, got closed", reason="reward_closed")
            if self._pool is not None and not self._pool.active:
                self._drop_pool()
            if self._pool is None:
                self._pool = self._keeper.submit(self._open_pool).result()
            try:
                future = self._pool.schedule(function, args=args, timeout=timeout_s)
            except RuntimeError as error:  # it broke after we looked
                raise BrokenProcessPool(str(error)) from error
            self._futures.add(future)
            return self._pool, future, len(self._futures)

    def _open_pool(self) -> ProcessPool:
        pool = ProcessPool(
            max_workers=1,
            initializer=start_child,
            initargs=(self._spec, os.getpid()),
            context=multiprocessing.get_context("spawn"),  # a fork would copy Ray's threads and locks
        )
        assert pool.active  # asking starts it, on this thread
        return pool

    def _discard(self, pool: ProcessPool) -> None:
        with self._lock:
            if self._pool is pool:
                self._drop_pool()

    def _drop_pool(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.stop()
            pool.join()
        for future in self._futures:  # a stopped pool leaves its tasks' callers waiting
            future.cancel()
