"""What one rank does for each message: joins, trains, publishes, saves, loads, exports.

Owns the rank's engine, its publisher and its uploads. All of it is torch's and runs in one thread, which is
`worker`'s; all but `plan` and the waits for what goes on in the background is collective. Heavy: imported
where a rank starts, and not by those who only place one.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from pgpo_async.config import RunConfig
from pgpo_async.contracts import Publish, ScoredGroup, TrainBatch
from pgpo_async.learner import saving
from pgpo_async.learner.checkpoint import CheckpointInfo
from pgpo_async.learner.distributed import join_ranks, leave_ranks
from pgpo_async.learner.engine import LearnerEngine
from pgpo_async.learner.micro_batches import StepWork
from pgpo_async.learner.publisher import WeightPublisher
from pgpo_async.learner.uploads import Uploads
from pgpo_async.learner.weights import num_weight_bytes, snapshot
from pgpo_async.metrics.activity import Activity
from pgpo_async.metrics.spans import Spans


class Trainer:
    """Rank `rank` of `world_size` in one run. Rank 0 sends weights to `publish`, if there is one."""

    engine_class: type[LearnerEngine] = LearnerEngine

    def __init__(
        self,
        config: RunConfig,
        rank: int,
        world_size: int,
        publish: Publish | None,
        *,
        activity: Activity,
        spans: Spans,
    ) -> None:
        self._rank, self._world_size = rank, world_size
        self._activity = activity
        self._engine: LearnerEngine | None = None
        self._begin(config, publish, spans)

    def _begin(self, config: RunConfig, publish: Publish | None, spans: Spans) -> None:
        self._config = config
        self._spans = spans
        self._publisher: WeightPublisher | None = None
        self._uploads: Uploads | None = None
        if self._rank == 0 and publish is not None:
            weights = config.weights
            self._publisher = WeightPublisher(
                publish, weights.bucket_bytes, full_every=weights.full_every, spans=spans
            )
        if self._rank == 0:
            self._uploads = Uploads.of(config.train)

    def start(self, master_addr: str, master_port: int) -> float:
        """Join the other ranks and load the model; returns its `ModelWork.pair_cost`."""
        self._activity.set("joining the other ranks")
        device = join_ranks(
            rank=self._rank,
            world_size=self._world_size,
            master_addr=master_addr,
            master_port=master_port,
            use_gpu=self._config.learner.gpus > 0,
            timeout_s=self._config.learner.step_timeout_s,
        )
        return self._load_model(device)

    def renew(self, config: RunConfig, publish: Publish | None, spans: Spans) -> float:
        """Begin another run with the same ranks and a fresh model; returns as `start`. `close` came first."""
        self._begin(config, publish, spans)
        engine = self._started()
        self._engine = None
        device = engine.device
        engine.deepspeed.destroy()
        del engine  # before the next one asks for the same memory
        return self._load_model(device)

    def _load_model(self, device: torch.device) -> float:
        if self._uploads is not None:
            self._uploads.check()
        self._engine = self.engine_class(self._config, device, self._activity)
        return self._engine.policy.work.pair_cost

    def plan(self, groups: Sequence[ScoredGroup], step: int, version: int, normalizer: float) -> StepWork:
        """Check and cut this rank's groups; in any thread. Raises ValueError, see `plan_step`."""
        batch = TrainBatch(step=step, groups=tuple(groups), normalizer=normalizer, version=version)
        return self._started().plan(batch)

    def train_step(self, work: StepWork | None, problem: str = "no work") -> dict[str, float]:
        """See `LearnerEngine.train_step`."""
        return self._started().train_step(work, problem)

    def publish(self, version: int, again: bool) -> dict[str, float]:
        """See `LearnerWorker.publish`."""
        engine, publisher = self._started(), self._publisher
        started_s = time.perf_counter()
        self._activity.set(f"snapshot of version {version}")
        spare = publisher.spare() if publisher else None
        with self._spans.span("snapshot", version=version):
            weights = snapshot(engine, keep=publisher is not None, into=spare)
        self._activity.set("idle")
        if publisher is not None:
            publisher.submit(version, weights, again=again)
        sent = publisher.sent if publisher else None
        metrics = {} if sent is None else {"published_share": sent.share, "published_bytes": sent.num_bytes}
        return {
            **metrics,
            "weight_bytes": float(num_weight_bytes(engine)),
            "publish_blocked_s": time.perf_counter() - started_s,
        }

    def flush(self, timeout_s: float) -> int | None:
        """Wait until the last version is sent; returns it. Raises WaitTimeout, WeightError."""
        if self._publisher is None:
            return None
        self._publisher.flush(timeout_s)
        return self._publisher.newest_sent

    def save(self, folder: Path, info: CheckpointInfo) -> tuple[str, ...]:
        """See `saving.save`."""
        return saving.save(self._started(), folder, info, self._uploads)

    def finish_uploads(self, timeout_s: float) -> tuple[str, ...]:
        """Wait until what was saved is sent; returns what failed. Raises WaitTimeout."""
        if self._uploads is None:
            return ()
        self._uploads.finish(timeout_s)
        return self._uploads.take_problems()

    def load(self, folder: Path, tag: str | None) -> CheckpointInfo | None:
        """See `saving.load`."""
        return saving.load(self._started(), folder, tag)

    def export_hf(self, folder: Path) -> None:
        """See `saving.export_hf`."""
        saving.export_hf(self._started(), folder)

    def close(self) -> None:
        """End what goes on in the background."""
        for thread in (self._publisher, self._uploads):
            if thread is not None:
                thread.close()
        self._publisher, self._uploads = None, None

    def leave(self) -> None:
        """Leave the ranks."""
        leave_ranks()

    def _started(self) -> LearnerEngine:
        assert self._engine is not None, "start must come first"
        return self._engine
