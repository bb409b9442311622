"""The books of a finished step, written while the next one runs: metrics, quarantine, progress, trace.

Owns at most one step that is done but not yet booked, and the run's health, which reads the books. Used by
`run_loop`, from one thread.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from pgpo_async.actors.queue_types import QueueLook
from pgpo_async.config.schema import RunConfig
from pgpo_async.metrics.step_record import StepRecord
from pgpo_async.orchestration.cluster import CALL_TIMEOUT_S, Cluster
from pgpo_async.orchestration.intake_guard import IntakeGuard
from pgpo_async.orchestration.quarantined_inputs import QuarantinedInputs
from pgpo_async.orchestration.run_folder import RunFolder
from pgpo_async.orchestration.run_health import RunHealth
from pgpo_async.orchestration.telemetry import Telemetry


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedStep:
    """The `number`-th step, from 1, which made `version`. `look` is the queue's answer to come; times in
    seconds.
    """

    number: int
    version: int
    look: Any
    leases: Sequence[Any]
    learner: Mapping[str, float]
    waited_s: float
    step_s: float
    ended_s: float = field(default_factory=time.time)


class StepBooks:
    """`note` a step when it ends, `settle` when there is time."""

    def __init__(self, config: RunConfig, cluster: Cluster, folder: RunFolder, telemetry: Telemetry) -> None:
        self._cluster = cluster
        self._folder = folder
        self._telemetry = telemetry
        self._health = RunHealth(config)
        self._guard = IntakeGuard(config, cluster, folder)
        self._inputs = QuarantinedInputs(config)
        self._open: FinishedStep | None = None
        self._accuracies: list[float] = []

    def go_on(self) -> None:
        """Begin where the queue's books are: after going back to a checkpoint, in this process or another."""
        look: QueueLook = ray.get(self._cluster.queue.look.remote(), timeout=CALL_TIMEOUT_S)
        self._health.go_on(self._noted(look).stats.accounting)

    def note(self, step: FinishedStep) -> None:
        """Keep a step to be booked; the one before has been."""
        assert self._open is None, "settle first"
        self._open = step

    def settle(self) -> None:
        """Book what is open. Raises StageFailed where going on would teach nothing."""
        if self._open is None:
            return
        step, self._open = self._open, None
        look = self._noted(ray.get(step.look, timeout=CALL_TIMEOUT_S))
        generated = dict(look.generated)
        shares, warning = self._health.step_done(step.number, look.stats.accounting, generated, step.learner)
        lags = [max(0, step.version - 1 - lease.header.oldest_version) for lease in step.leases]
        record = StepRecord(
            step=step.number,
            version=step.version,
            reward=generated.get("reward", float("nan")),
            accuracy=generated.get("accuracy", float("nan")),
            lag_mean=sum(lags) / len(lags),
            lag_max=max(lags),
            step_s=step.step_s,
            learner_wait_s=step.waited_s,
            learner=step.learner,
            queue=generated | shares,
            time_s=step.ended_s,
            groups=[lease.group_id for lease in step.leases],
            lags=lags,
            group_rewards=[lease.header.mean_reward for lease in step.leases],
            pipeline=self._telemetry.pipeline_now(),
        )
        self._accuracies.append(record.accuracy)
        self._folder.log_step(record.as_json())
        self._telemetry.step_done(record, step.leases)
        if warning is not None:
            self._folder.tell(f"warning: {warning}")
        self._health.check(look.stats.accounting)
        self._guard.note(step.number, step.learner)

    def take_accuracy(self) -> float | None:
        """Return the mean training accuracy of the steps booked since the last call, if there is one."""
        known = [value for value in self._accuracies if not math.isnan(value)]
        self._accuracies = []
        return sum(known) / len(known) if known else None

    def look(self) -> str:
        """Look at the queue between steps; return its state in a line. Raises StageFailed as `settle`."""
        look: QueueLook = ray.get(self._cluster.queue.look.remote(), timeout=CALL_TIMEOUT_S)
        stats = self._noted(look).stats
        self._health.check(stats.accounting)
        return stats.summary()

    def _noted(self, look: QueueLook) -> QueueLook:
        """Write what was quarantined into the run folder."""
        for record in look.quarantined:
            self._health.note(record.reason, record.error)
        self._folder.log_quarantine(self._inputs.whole(look.quarantined))
        return look
