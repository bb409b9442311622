"""Steps that updated nothing, since their loss or gradient was not finite: counted, their batches kept.

Owns how many in a row are too many, and the files, which `pgpo_async.contracts.decode` reads:
`skipped/step-00000012/<group>.arrow` in the run folder. Used by `run_loop`, from one thread.
"""

from collections.abc import Sequence
from typing import Any

import ray

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import StageFailed, WaitTimeout
from pgpo_async.learner.payloads import fetch
from pgpo_async.orchestration.cluster import CALL_TIMEOUT_S
from pgpo_async.orchestration.run_folder import RunFolder

NAME = "skipped"
MAX_KEPT = 10
"""Batches in the folder; later ones are only counted."""


class SkippedSteps:
    """One run's."""

    def __init__(self, config: RunConfig, folder: RunFolder) -> None:
        self._limit = config.train.max_skipped_steps
        self._folder = folder
        self._in_a_row: list[int] = []
        self.total = 0

    def note(self, step: int, metrics: dict[str, float], leases: Sequence[Any]) -> None:
        """Note how the `step`-th step, counted from 1, went. `leases` are its groups, not yet acknowledged.

        Raises StageFailed of the learner where so many in a row were skipped that its weights, or the groups
        that they sampled, must be bad: it is to go back to its last checkpoint.
        """
        if not metrics.get("skipped_step"):
            self._in_a_row = []
            return
        self.total += 1
        self._in_a_row.append(step)
        self._keep(step, leases)
        if len(self._in_a_row) < self._limit:
            self._folder.tell(
                f"warning: step {step} updated nothing: its loss or gradient was not finite; its batch is in "
                f"{NAME}/"
            )
            return
        steps, self._in_a_row = ", ".join(map(str, self._in_a_row)), []
        raise StageFailed(
            f"learner: loss or gradient were not finite in {self._limit} steps in a row ({steps}; their "
            f"batches are in {NAME}/), nothing was updated",
            role="learner",
        )

    def _keep(self, step: int, leases: Sequence[Any]) -> None:
        home = self._folder.path / NAME / f"step-{step:08d}"
        if self.total > MAX_KEPT:
            return
        try:
            payloads = fetch([lease.ref for lease in leases], CALL_TIMEOUT_S)
        except (ray.exceptions.RayError, WaitTimeout) as error:
            self._folder.tell(f"warning: the batch of step {step} could not be kept: {error}")
            return

        def write() -> None:
            home.mkdir(parents=True, exist_ok=True)
            for lease, payload in zip(leases, payloads, strict=True):
                (home / f"{lease.group_id}.arrow").write_bytes(payload)

        self._folder.try_to_write(NAME, write)
