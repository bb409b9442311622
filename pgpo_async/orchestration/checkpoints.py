"""A run's checkpoints: the learner's files, the queue's books, the run folder; saved and gone back to as one.

Owns the order in which the three take part. The learner's checkpoint owns the step: the queue writes a mark
of the same name into its journal first, and whatever it knows beyond the mark is trained again, not
generated again. Used by `run_loop` (a learner that died) and `run` (a run that goes on).
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ray

from pgpo_async.actors.queue_state import QueueState
from pgpo_async.contracts import StageFailed, WeightError
from pgpo_async.learner import checkpoint, mirror
from pgpo_async.orchestration.cluster import CALL_TIMEOUT_S, Cluster
from pgpo_async.orchestration.run_folder import RunFolder

START = "start"
"""The mark of a run's beginning: where it goes back to before its first checkpoint."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """Where the run goes on: optimizer steps done, the version of their weights, what the driver had kept."""

    step: int
    version: int
    kept: Mapping[str, Any] = field(default_factory=dict)


class Checkpoints:
    """Of one run."""

    def __init__(self, cluster: Cluster, folder: RunFolder) -> None:
        self._cluster = cluster
        self._folder = folder
        self._newest: int | None = None

    def begin(self) -> None:
        """Mark the beginning of a new run."""
        ray.get(self._cluster.queue.mark.remote(START), timeout=CALL_TIMEOUT_S)

    def save(
        self, *, step: int, version: int, value: float | None, kept: Mapping[str, Any]
    ) -> tuple[str, ...]:
        """Save `step` steps done, whose weights are `version`. Higher `value` is better; `kept` is JSON.

        Generation goes on meanwhile. Returns warnings: what could not be deleted or sent. Raises StageFailed
        if the learner cannot save.
        """
        if step == self._newest:
            return ()
        tag = f"step-{step:08d}"
        state: QueueState = ray.get(self._cluster.queue.mark.remote(tag), timeout=CALL_TIMEOUT_S)
        warnings = self._cluster.the_learner.save(
            str(self._folder.checkpoints),
            tag,
            step,
            version=version,
            state={"queue": state.as_json(), "driver": dict(kept)},
            value=value,
        )
        self._newest = step
        self._cluster.queue.forget_before.remote(tag)
        return warnings

    def restore(self, *, tag: str | None = None, newest_version: int | None = None) -> Restored:
        """Load checkpoint `tag`, or the latest, or begin from the start where there is none.

        The queue goes back, too. `newest_version` is the newest that was published in this job, where actors
        still serve it: the versions to come are above it. A learner that fails meanwhile is started again.
        Raises WeightError if no checkpoint can be loaded; StageFailed where the learner failed too often.
        """
        while True:
            try:
                return self._restore(tag, newest_version)
            except StageFailed as error:
                if error.role != "learner":
                    raise
                self._cluster.restart_learner(error)
                if newest_version is not None:
                    newest_version += 1  # it may have been published

    def _restore(self, tag: str | None, newest_version: int | None) -> Restored:
        learner, queue = self._cluster.the_learner, self._cluster.queue
        if tag is None:
            self._fetch_newer()
        info = learner.load(str(self._folder.checkpoints), tag)
        if info is None:
            tag, step, at, books, kept = START, 0, 0, QueueState(), {}
        else:
            state = checkpoint.read_state(self._folder.checkpoints, info.tag)
            tag, step, at = info.tag, info.step, info.version
            books, kept = QueueState.from_json(state["queue"]), state["driver"]
        version = at if newest_version is None else newest_version + 1
        ray.get(queue.rewind.remote(tag, books, at, version), timeout=CALL_TIMEOUT_S)
        self._folder.roll_back(step)
        self._newest = None if info is None else step
        self._put_aside(step)
        learner.versions_ahead = version - step
        if version > 0:
            learner.publish(version=version)
        return Restored(step=step, version=version, kept=kept)

    def _fetch_newer(self) -> None:
        """Take the newest copy from `train.checkpoint_url`, if this folder has none as new."""
        url = self._cluster.config.train.checkpoint_url
        if url is None:
            return
        here = checkpoint.find(self._folder.checkpoints)[0]
        try:
            there = mirror.latest_remote(url)
            if there is not None and there.step > max((info.step for info in here), default=-1):
                mirror.download(url, there.tag, self._folder.checkpoints)
        except OSError as error:
            raise WeightError(f"train.checkpoint_url: {url} cannot be read: {error}") from error

    def _put_aside(self, step: int) -> None:
        """Move checkpoints of later steps out of the way: those steps will be others."""
        for info in checkpoint.find(self._folder.checkpoints)[0]:
            if info.step > step:
                aside = self._folder.path / "checkpoints_rolled_back" / f"{info.tag}-{time.time():.0f}"
                aside.parent.mkdir(exist_ok=True)
                (self._folder.checkpoints / info.tag).rename(aside)
