"""Generator actors that only answer: started, replaced when they die, closed. They run no loop.

Owns nothing of a run: who starts them says of what they are made. Used by `evaluators` beside a run, and by
`evaluation_engines` without one.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import ray

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError, StageFailed
from pgpo_async.orchestration.replicas import Replicas, Say

POLL_S = 0.2
CLOSE_S = 60.0


class EnginePool:
    """`make(name)` places one. Used from one thread; `start` comes first."""

    def __init__(
        self, role: str, count: int, config: RunConfig, make: Callable[[str], Any], say: Say
    ) -> None:
        self._say = say
        self._replicas = Replicas(
            role,
            config.generator.model_copy(update={"replicas": count}),
            config.supervision,
            make,
            forget=lambda _name: None,
            start_timeout_s=config.generator.start_timeout_s,
        )

    def start(self) -> None:
        """Let all load; `idle` waits for the first."""
        self._replicas.start()

    def idle(self) -> Sequence[Any]:
        """Return those that have started; waits for one. Raises StageFailed, or the ConfigError behind it."""
        while True:
            try:
                self._replicas.attend(self._say)
            except StageFailed as error:
                raise error.__cause__ if isinstance(error.__cause__, ConfigError) else error from None
            if idle := list(self._replicas.idle.values()):
                return idle
            time.sleep(POLL_S)

    def wait_ready(self) -> Sequence[Any]:
        """Return all, once all have started. Raises as `idle`."""
        while True:
            idle = self.idle()
            if self._replicas.ready:
                return idle
            time.sleep(POLL_S)

    def replace(self, actor: Any, error: BaseException) -> None:
        """Start another in the place of one that died. Raises StageFailed."""
        self._replicas.found_dead(actor, error, self._say)

    @property
    def num_restarts(self) -> int:
        """Engines replaced so far."""
        return self._replicas.num_restarts

    def close(self) -> None:
        """Stop all engines; what does not end in time goes with Ray."""
        closing = list(self._replicas.named(lambda actor: actor.close.remote()))
        if closing:
            ray.wait(closing, num_returns=len(closing), timeout=CLOSE_S)
