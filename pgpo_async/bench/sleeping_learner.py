"""The learner whose steps are sleep: publishing, checkpoints and the actor around it are the real ones."""

import json
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pgpo_async.bench.sleeping_times import read_times
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import LeaseError, Publish, ScoredGroup, WeightError, WeightManifest
from pgpo_async.learner import checkpoint
from pgpo_async.learner.checkpoint import CheckpointInfo
from pgpo_async.learner.worker import LearnerWorker
from pgpo_async.metrics.activity import Activity
from pgpo_async.metrics.spans import Spans
from pgpo_async.orchestration.service_times import draw_s

WEIGHT_ELEMENTS = 1 << 16
"""Of the only tensor that is published."""
SAVE_S = 0.5
"""That a checkpoint is half written."""


class SleepingTrainer:
    """A rank's work as sleep; its weights are one tensor, published as any others are.

    What `learner.trainer.Trainer` does for `LearnerWorker`, without its imports.
    """

    def __init__(
        self, config: RunConfig, rank: int, publish: Publish | None, activity: Activity, spans: Spans
    ) -> None:
        self._rank = rank
        self._activity = activity
        self._begin(config, publish, spans)

    def _begin(self, config: RunConfig, publish: Publish | None, spans: Spans) -> None:
        self._config = config
        self._spans = spans
        self._times = read_times(config)
        self._rng = random.Random(config.seed)
        self._publisher: Any = None
        if self._rank == 0 and publish is not None:
            # Brings torch, which the processes that only sleep do without.
            from pgpo_async.learner.publisher import WeightPublisher

            late, weights = _Late(publish, self._times.publish_s), config.weights
            self._publisher = WeightPublisher(
                late, weights.bucket_bytes, full_every=weights.full_every, spans=spans
            )

    def start(self, _master_addr: str, _master_port: int) -> float:
        """Nothing to load."""
        return 0.0

    def renew(self, config: RunConfig, publish: Publish | None, spans: Spans) -> float:
        """Begin another run."""
        self._begin(config, publish, spans)
        return 0.0

    def plan(
        self, groups: Sequence[ScoredGroup], _step: int, _version: int, _normalizer: float
    ) -> Sequence[ScoredGroup]:
        """Keep the groups as they are."""
        return groups

    def train_step(
        self, groups: Sequence[ScoredGroup] | None, problem: str = "no groups"
    ) -> dict[str, float]:
        """Take a step's time. Raises LeaseError without groups."""
        if groups is None:
            raise LeaseError(f"step dropped: rank {self._rank}: {problem}")
        self._activity.set("a step")
        time.sleep(draw_s(self._times.learn_s, self._times.learn_sigma, self._rng))
        self._activity.set("idle")
        return {"loss": 0.0, "grad_norm": 1.0, "num_groups": float(len(groups))}

    def publish(self, version: int, again: bool) -> dict[str, float]:
        """Hand a tensor that says its version to the publisher."""
        if self._publisher is not None:
            import torch

            weights = {"weight": torch.full((WEIGHT_ELEMENTS,), float(version))}
            self._publisher.submit(version, weights, again=again)
        return {"publish_blocked_s": 0.0, "weight_bytes": 4.0 * WEIGHT_ELEMENTS}

    def flush(self, timeout_s: float) -> int | None:
        """Wait until the last version is sent; returns it."""
        if self._publisher is None:
            return None
        self._publisher.flush(timeout_s)
        sent: int | None = self._publisher.newest_sent
        return sent

    def save(self, folder: Path, info: CheckpointInfo) -> tuple[str, ...]:
        """Write a checkpoint as any other, but for what it holds."""
        home = checkpoint.partial(folder, info.tag)
        (home / f"rank-{self._rank}.json").write_text(json.dumps({"step": info.step}))
        time.sleep(SAVE_S)
        if self._rank == 0:
            checkpoint.commit(folder, info)
            checkpoint.prune(folder, self._config.train.keep_checkpoints, self._config.train.keep_best)
        return ()

    def load(self, folder: Path, tag: str | None) -> CheckpointInfo | None:
        """Check what a checkpoint holds, and take the newest that is whole."""
        found, skipped = checkpoint.candidates(folder, tag)
        for info in found:
            try:
                checkpoint.verify(folder, info.tag)
            except WeightError as error:
                skipped = (*skipped, str(error))
                continue
            return replace(info, skipped=skipped)
        if skipped:
            raise WeightError("checkpoint refused: " + "; ".join(skipped))
        return None

    def finish_uploads(self, _timeout_s: float) -> tuple[str, ...]:
        """There are none."""
        return ()

    def export_hf(self, folder: Path) -> None:
        """There is no model."""

    def close(self) -> None:
        """Let go of the publisher."""
        if self._publisher is not None:
            self._publisher.close()
            self._publisher = None

    def leave(self) -> None:
        """There is nothing to leave."""


class SleepingLearner(LearnerWorker):
    """A rank whose trainer sleeps."""

    def _make_trainer(self, publish: Publish | None) -> Any:
        return SleepingTrainer(self._config, self._rank, publish, self._activity, self._spans)


class _Late:
    """Publishes after a while."""

    def __init__(self, publish: Publish, after_s: float) -> None:
        self._publish = publish
        self._after_s = after_s

    def __call__(self, manifest: WeightManifest, payloads: Any) -> object:
        time.sleep(self._after_s)
        return self._publish(manifest, payloads)
