"""Pauses intake when generators and trainer disagree, renews the generators' weights and caches, goes on.

Owns what is done, and that it is done once: a disagreement that comes back soon ends the run, with its
likely cause. When there is one, and why, is `mismatch_guard`'s. Called by `step_books`, in the driver.
"""

from collections.abc import Mapping

import ray

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import StageFailed
from pgpo_async.contracts.errors import plain
from pgpo_async.orchestration.cluster import CALL_TIMEOUT_S, Cluster
from pgpo_async.orchestration.mismatch_guard import MismatchGuard
from pgpo_async.orchestration.run_folder import RunFolder

SOON = 10
"""Times the guard's patience, in steps, beyond the lag: a second disagreement within so many has no cure."""


class IntakeGuard:
    """Of one run."""

    def __init__(self, config: RunConfig, cluster: Cluster, folder: RunFolder) -> None:
        self._config = config
        self._cluster = cluster
        self._folder = folder
        self._guard = MismatchGuard(config.train.guard)
        self._renewed: int | None = None

    def note(self, step: int, metrics: Mapping[str, float]) -> None:
        """Note a step. Raises StageFailed where renewing did not help."""
        problem = self._guard.note(step, metrics)
        if problem is None:
            return
        soon = SOON * self._config.train.guard.patience + self._config.max_lag
        if self._renewed is not None and step - self._renewed <= soon:
            raise StageFailed(
                f"{problem} (step {step}; renewing the generators did not help)", role="generator"
            )
        self._renewed = step
        self._renew(step, problem)

    def _renew(self, step: int, problem: str) -> None:
        queue = self._cluster.queue
        ray.get(queue.pause_intake.remote(True), timeout=CALL_TIMEOUT_S)
        self._folder.tell(
            f"warning: step {step}: {problem}; intake is paused, all generators load the newest weights "
            "whole and drop their caches"
        )
        timeout_s = self._config.weights.load_timeout_s + CALL_TIMEOUT_S
        calls = [generator.refresh.remote() for generator in self._cluster.generators]
        done, late = ray.wait(calls, num_returns=len(calls), timeout=timeout_s) if calls else ([], [])
        for call in done:
            try:
                ray.get(call)
            except Exception as error:  # a dead one is replaced, with fresh weights, by its supervisor
                self._folder.tell(f"warning: a generator could not be renewed: {plain(error)}")
        if late:
            self._folder.tell(f"warning: {len(late)} generators were not renewed within {timeout_s:.0f} s")
        ray.get(queue.pause_intake.remote(False), timeout=CALL_TIMEOUT_S)
        self._folder.tell("intake goes on")
