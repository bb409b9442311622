"""Whole groups of some steps, kept for the report, the token viewer and the trackers' tables.

    samples/step-00000012/<group>.arrow     a `ScoredGroup` as `pgpo_async.contracts.decode` reads it

Owns which groups are kept and how many: the folder stays bounded, and what is left spans the run. Used by
`telemetry`, from one thread.
"""

import shutil
from collections.abc import Sequence
from typing import Any

import ray

from pgpo_async.config.observing import MetricsConfig
from pgpo_async.contracts import ScoredGroup, WaitTimeout, decode, encode
from pgpo_async.learner.payloads import fetch
from pgpo_async.orchestration.run_folder import RunFolder

NAME = "samples"
FETCH_S = 30.0


class Samples:
    """Of one run, which ends with step `num_steps`."""

    def __init__(self, config: MetricsConfig, folder: RunFolder, num_steps: int) -> None:
        self._config = config
        self._folder = folder
        self._home = folder.path / NAME
        self._num_steps = num_steps
        self._every = config.samples_every

    def due(self, step: int) -> bool:
        """Whether groups of this step, counted from 1, are kept: the first, the last, and regular ones."""
        every = self._every
        return every > 0 and (step % every == 0 or step in (1, self._num_steps))

    def keep(self, step: int, leases: Sequence[Any]) -> list[bytes]:
        """Write down groups of a step that is due; return them as they are in the files."""
        chosen = extremes(leases, self._config.samples_per_step)
        try:
            payloads = fetch([lease.ref for lease in chosen], FETCH_S)
            payloads = [_scored(payload) for payload in payloads]
        except (ray.exceptions.RayError, WaitTimeout, ValueError) as error:
            self._folder.tell(f"warning: the samples of step {step} could not be kept: {error}")
            return []
        folder = self._home / f"step-{step:08d}"

        def write() -> None:
            shutil.rmtree(folder, ignore_errors=True)  # of the same step, before the run went back
            folder.mkdir(parents=True)
            for lease, payload in zip(chosen, payloads, strict=True):
                (folder / f"{lease.group_id}.arrow").write_bytes(payload)
            self._thin_out()

        self._folder.try_to_write(NAME, write)
        return list(payloads)

    def _thin_out(self) -> None:
        kept = sorted(self._home.glob("step-*"))
        if len(kept) <= self._config.keep_samples:
            return
        # From the end: the newest stays, and the first goes last of all.
        for folder in kept[-2:0:-2]:
            shutil.rmtree(folder, ignore_errors=True)
        self._every *= 2


def _scored(payload: bytes) -> bytes:
    """The same as a `ScoredGroup`, where no scorer has seen it."""
    group = decode(payload)
    return payload if isinstance(group, ScoredGroup) else encode(ScoredGroup.unscored(group))


def extremes(leases: Sequence[Any], count: int) -> list[Any]:
    """Return up to `count` groups: the best by mean reward, the worst, the second best, ..."""
    ranked = sorted(leases, key=lambda lease: lease.header.mean_reward, reverse=True)
    # From both ends towards the middle, where they meet.
    order = [lease for pair in zip(ranked, reversed(ranked), strict=True) for lease in pair]
    return list({lease.group_id: lease for lease in order}.values())[:count]
