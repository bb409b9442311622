"""The reward actor: scores groups in a child process that can be killed at a deadline.

Owns the child's life: started warm, killed when late, replaced when dead, never outliving the actor. What a
reward is belongs to `rewards`; the child from outside to `reward_process`, the code inside it to
`reward_child`. A child, because math-verify needs a main thread, and because only a process can be stopped
whatever it does. Placed by the orchestration as a threaded Ray actor (`max_concurrency` > 1: waiting calls
queue up); generators call `score`.
"""

import concurrent.futures
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pgpo_async.actors.reward_child import VerifierSpec
from pgpo_async.actors.reward_process import ProcessDied, RewardProcess
from pgpo_async.config.pipeline import RewardConfig
from pgpo_async.contracts import ConfigError, Prompt, RewardError, RewardTimeout, WaitTimeout
from pgpo_async.metrics.vitals import vitals
from pgpo_async.rewards.verifier import RewardParts

START_TIMEOUT_S = 120.0
"""Longest a child may take to start: Python, math-verify, the user's module, on a busy machine."""


class RewardWorker:
    """Scores one group at a time; calls from several threads wait for each other.

    Not an async class on purpose: Ray would then run its calls on one event loop, where they would block.
    """

    def __init__(self, config: RewardConfig, *, start_timeout_s: float = START_TIMEOUT_S) -> None:
        self._timeout_s = config.timeout_s
        self._start_timeout_s = start_timeout_s
        self._max_memory_bytes = config.max_memory_bytes
        self._spec: VerifierSpec = (
            config.accuracy_weight,
            config.format_weight,
            config.function,
            config.tolerance,
        )
        self._num_scored = 0
        self._hits = 0  # of the child that lives; one that is replaced begins anew
        self._turn = threading.Lock()  # held by the call that the child works for
        self._state = threading.Lock()
        self._process: RewardProcess | None = None
        self._closed = False
        # The kernel kills a child when the *thread* that started it ends, so one that never ends starts them.
        self._keeper = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="reward-keeper")

    def prepare(self) -> None:
        """Start the child, so that no group waits for it.

        Raises ConfigError if the reward function cannot be loaded, WaitTimeout if loading does not end,
        RewardError if it ends the process.
        """
        try:
            self._run("the reward process to start", self._start_timeout_s, ("warm up",))
        except RewardTimeout as error:
            raise WaitTimeout("the reward process to start", self._start_timeout_s) from error

    def score(self, texts: Sequence[str], prompt: Prompt) -> list[RewardParts]:
        """Return one reward for each response text, in order.

        Raises RewardTimeout if they take longer than `reward.timeout_s` together, or one has no verdict in
        the verifier's own time; RewardError with reason "reward_crashed" if the child dies, "reward_closed"
        after `close`, "reward_error" or "reward_invalid" as `Verifier.score`. The next call works in each
        case but after `close`.
        """
        if self._spec[2] is None:
            prompt = replace(prompt, images=())  # only a function of the user's may want to see them
        what = f"the rewards of {len(texts)} responses to prompt {prompt.prompt_id}"
        scores = self._run(what, self._timeout_s, ("score", list(texts), prompt))
        if len(scores) != len(texts):
            raise RewardError(f"{what}: must be {len(texts)}, got {len(scores)}", reason="reward_invalid")
        self._num_scored += len(scores)
        return [RewardParts(total=float(total), parts=dict(parts)) for total, parts in scores]

    def status(self) -> dict[str, Any]:
        """Say what this verifier does; answered at any time.

        `scored` counts responses; `held_hits` those of the child's that needed no comparison.
        """
        doing = "verifying answers" if self._turn.locked() else "groups to verify"
        counts = {"scored": self._num_scored, "held_hits": self._hits}
        return {"waiting_for": doing, **counts, **vitals(children=True)}

    def close(self) -> None:
        """Kill the child; calls that wait fail. Idempotent."""
        with self._state:
            self._closed = True
            process = self._process
        if process is not None:
            process.kill()
        self._keeper.shutdown(wait=True)
        if process is not None:
            with self._turn:  # the call that waited for it has ended, or ends now
                process.close()

    def _run(self, what: str, timeout_s: float, request: tuple[Any, ...]) -> list[Any]:
        with self._turn:
            for is_last in (False, True):
                process = self._started(what)
                try:
                    answer = process.ask(request, timeout_s)
                except TimeoutError as error:
                    self._discard(process)
                    message = f"{what}: must come within {timeout_s} s: killed the process"
                    raise RewardTimeout(message + process.last_words()) from error
                except ProcessDied as error:
                    self._discard(process)
                    self._check_open()
                    if error.begun or is_last:
                        message = f"{what}: the reward process {error.message}"
                        raise RewardError(message, reason="reward_crashed") from error
                    continue  # it died while idle (out of memory, for instance): not this group's fault
                self._hits = answer.get("hits", self._hits)
                return _scores(answer)
        raise AssertionError("unreachable")

    def _started(self, what: str) -> RewardProcess:
        """Return a child that has loaded, a new one if need be."""
        with self._state:
            self._check_open()
            process = self._process
        if process is not None and process.alive:
            return process
        if process is not None:
            self._discard(process)
        with self._state:
            self._check_open()
            starting = self._keeper.submit(RewardProcess, self._spec, self._max_memory_bytes)
        try:
            process = starting.result()
        except OSError as error:
            message = f"{what}: the reward process must start, got {error}"
            raise RewardError(message, reason="reward_crashed") from error
        with self._state:
            self._process = process
            closed = self._closed
        if closed:
            process.kill()
        try:
            process.wait_ready(self._start_timeout_s)
        except TimeoutError as error:
            self._discard(process)
            message = f"{what}: must be begun within {self._start_timeout_s:.0f} s, got no process"
            raise RewardTimeout(message + process.last_words()) from error
        except ProcessDied as error:
            self._discard(process)
            self._check_open()
            message = f"{what}: the reward process {error.message} before it was ready"
            raise RewardError(message, reason="reward_crashed") from error
        return process

    def _discard(self, process: RewardProcess) -> None:
        process.kill()
        with self._state:
            if self._process is process:
                self._process = None
        process.close()

    def _check_open(self) -> None:
        if self._closed:
            raise RewardError("the reward actor must be open, got closed", reason="reward_closed")


def _scores(answer: dict[str, Any]) -> list[Any]:
    if "config" in answer:
        raise ConfigError(answer["config"])
    if "scores" in answer:
        return list(answer["scores"])
    error = RewardError(answer["message"], reason=answer["reason"])
    raise RewardTimeout(error.message) if error.reason == "reward_timeout" else error
