"""One rank of the learner as an actor: messages in, the engine's work in one thread, status at any time.

Owns the thread (torch keeps thread-local state: all of its work, from joining the ranks on, runs in that one)
and what one rank does for each message. A plain class: `ray.remote` is applied where it is placed, with
`group.ACTOR_OPTIONS`, since `status` must be answered while a step runs. Called by `group` only.
"""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import ray
import torch

from pgpo_async.config import RunConfig
from pgpo_async.contracts import LeaseError, TrainBatch, WaitTimeout
from pgpo_async.contracts.arrow import warm_up
from pgpo_async.learner import checkpoint, saving
from pgpo_async.learner.activity import Activity
from pgpo_async.learner.checkpoint import CheckpointInfo
from pgpo_async.learner.distributed import free_port, join_ranks, leave_ranks
from pgpo_async.learner.engine import LearnerEngine
from pgpo_async.learner.micro_batches import StepWork
from pgpo_async.learner.payloads import fetch, scored
from pgpo_async.learner.publisher import Publish, WeightPublisher
from pgpo_async.learner.uploads import Uploads
from pgpo_async.learner.weights import snapshot
from pgpo_async.metrics.spans import Span, Spans

Result = TypeVar("Result")


class LearnerWorker:
    """Rank `rank` of `world_size`. `publish` is used by rank 0 only; without it nothing is published.

    First `address` (rank 0), then `start` on all ranks at once; then all but `status`, `flush`,
    `prepare_save` and `finish_uploads` are collective: every rank gets the same message in the same order.
    """

    engine_class: type[LearnerEngine] = LearnerEngine

    def __init__(self, config: RunConfig, rank: int, world_size: int, publish: Publish | None = None) -> None:
        self._rank, self._world_size = rank, world_size
        warm_up()
        self._activity = Activity()
        self._torch = ThreadPoolExecutor(max_workers=1, thread_name_prefix="torch")
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prepare")
        self._engine: LearnerEngine | None = None
        self._publisher: WeightPublisher | None = None
        self._uploads: Uploads | None = None
        self._begin(config, publish)

    def _begin(self, config: RunConfig, publish: Publish | None) -> None:
        self._config = config
        self._timeout_s = config.learner.step_timeout_s
        self._spans = Spans(config.trace)
        self._prepared: tuple[list[Any], Future[Any]] | None = None
        if self._rank == 0 and publish is not None:
            weights = config.weights
            self._publisher = WeightPublisher(
                publish, weights.bucket_bytes, full_every=weights.full_every, spans=self._spans
            )
        if self._rank == 0:
            self._uploads = Uploads.of(config.train)

    def address(self) -> tuple[str, int]:
        """This node's address and a port that is free on it."""
        return ray.util.get_node_ip_address(), free_port()

    def start(self, master_addr: str, master_port: int) -> float:
        """Join the other ranks and load the model; returns its `ModelWork.pair_cost`. Collective."""
        return self._in_torch_thread(lambda: self._start(master_addr, master_port))

    def renew(self, config: RunConfig, publish: Publish | None = None) -> float:
        """Begin another run with the same ranks and a fresh model; returns as `start`. Collective."""
        self._close_threads()
        self._begin(config, publish)
        return self._in_torch_thread(self._renew)

    def train_step(
        self, payloads: Sequence[Any], step: int, version: int, normalizer: float
    ) -> dict[str, float]:
        """Train on this rank's groups: encoded bytes, or object refs of them. Collective.

        Returns `LearnerEngine.train_step`'s metrics and this rank's `fetch_s` (what is left of it after
        `prepare`) and `busy_s` (all of the call). Raises LeaseError on all ranks, with nothing changed, where
        one of them could not get or read a group.
        """
        return self._in_torch_thread(lambda: self._train_step(payloads, step, version, normalizer))

    def prepare(self, payloads: Sequence[Any], step: int, version: int, normalizer: float) -> None:
        """Fetch, read and cut this rank's groups of a step to come, beside the step that runs. Local.

        What goes wrong shows in `train_step`, which is called with the same arguments next.
        """
        self._prepared = (
            list(payloads),
            self._beside.submit(self._work_of, payloads, step, version, normalizer),
        )

    def publish(self, version: int) -> dict[str, float]:
        """Snapshot the weights and send them on in the background. Collective.

        Returns `publish_blocked_s` and, on rank 0 once a version was sent, `published_share`: bytes of the
        last one sent by those of its files.

        Raises WeightError on rank 0 if an earlier version could not be sent.
        """
        return self._in_torch_thread(lambda: self._publish(version))

    def flush(self, timeout_s: float) -> int | None:
        """Wait until the last version is sent; returns it. Raises WaitTimeout, WeightError."""
        if self._publisher is None:
            return None
        self._publisher.flush(timeout_s)
        return self._publisher.newest_sent

    def prepare_save(self, folder: str, tag: str, state: Mapping[str, Any]) -> None:
        """Before `save`, on rank 0 only. Raises ValueError, see `checkpoint.prepare`."""
        checkpoint.prepare(Path(folder), tag, state)

    def save(self, folder: str, info: CheckpointInfo) -> tuple[str, ...]:
        """Save everything that a later `load` needs; returns warnings on rank 0. Collective."""
        work = saving.save
        return self._in_torch_thread(lambda: work(self._started(), Path(folder), info, self._uploads))

    def finish_uploads(self, timeout_s: float) -> tuple[str, ...]:
        """Wait until what was saved is sent; returns what failed. On rank 0 only. Raises WaitTimeout."""
        if self._uploads is None:
            return ()
        self._uploads.finish(timeout_s)
        return self._uploads.take_problems()

    def load(self, folder: str, tag: str | None) -> CheckpointInfo | None:
        """Load a checkpoint, checked first: see `saving.load`. Collective."""
        return self._in_torch_thread(lambda: saving.load(self._started(), Path(folder), tag))

    def export_hf(self, folder: str) -> None:
        """Write the model as transformers and vLLM load it. Collective.

        Raises ValueError on all ranks if `folder` exists and is not empty.
        """
        self._in_torch_thread(lambda: saving.export_hf(self._started(), Path(folder)))

    def status(self) -> dict[str, Any]:
        """Rank, process, what it is doing and since when; answered at any time."""
        return {"rank": self._rank, "pid": os.getpid(), "doing": self._activity.describe()}

    def take_spans(self) -> list[Span]:
        """What this rank traced since the last call."""
        return self._spans.take()

    def shutdown(self) -> None:
        """Leave the ranks; the process may be killed then. Collective."""
        self._close_threads()
        self._in_torch_thread(leave_ranks)

    def _close_threads(self) -> None:
        for thread in (self._publisher, self._uploads):
            if thread is not None:
                thread.close()
        self._publisher, self._uploads = None, None

    def _start(self, master_addr: str, master_port: int) -> float:
        self._activity.set("joining the other ranks")
        device = join_ranks(
            rank=self._rank,
            world_size=self._world_size,
            master_addr=master_addr,
            master_port=master_port,
            use_gpu=self._config.learner.gpus > 0,
            timeout_s=self._timeout_s,
        )
        return self._load_model(device)

    def _renew(self) -> float:
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

    def _train_step(
        self, payloads: Sequence[Any], step: int, version: int, normalizer: float
    ) -> dict[str, float]:
        engine = self._started()
        clock = time.perf_counter
        started_s = clock()
        try:
            work = self._ready_work(payloads, step, version, normalizer)
        except Exception as error:
            # The others must not be left waiting in a collective: tell them, and all drop the step.
            self._drop_step(engine, error)
        ready_s = clock()
        with self._spans.span("step", step=step):
            metrics = engine.train_step(work)
        return {**metrics, "fetch_s": ready_s - started_s, "busy_s": clock() - started_s}

    def _ready_work(self, payloads: Sequence[Any], step: int, version: int, normalizer: float) -> Any:
        self._activity.set(f"reading the groups of step {step}")
        prepared, self._prepared = self._prepared, None
        if prepared is not None and prepared[0] == list(payloads):
            return prepared[1].result(timeout=self._timeout_s)
        return self._work_of(payloads, step, version, normalizer)

    def _work_of(self, payloads: Sequence[Any], step: int, version: int, normalizer: float) -> StepWork:
        with self._spans.span("fetch", step=step):
            data = fetch(payloads, self._timeout_s)
        with self._spans.span("collate", step=step):
            groups = tuple(scored(item, needed=self._config.uses_scorers) for item in data)
            batch = TrainBatch(step=step, groups=groups, normalizer=normalizer, version=version)
            return self._started().plan(batch)

    def _drop_step(self, engine: LearnerEngine, error: Exception) -> NoReturn:
        try:
            engine.train_step(None, f"{type(error).__name__}: {error}")
        except LeaseError as agreed:
            raise agreed from error
        raise AssertionError("a step without work must be dropped")

    def _publish(self, version: int) -> dict[str, float]:
        engine, publisher = self._started(), self._publisher
        started_s = time.perf_counter()
        self._activity.set(f"snapshot of version {version}")
        spare = publisher.spare() if publisher else None
        with self._spans.span("snapshot", version=version):
            weights = snapshot(engine, keep=publisher is not None, into=spare)
        self._activity.set("idle")
        if publisher is not None:
            publisher.submit(version, weights)
        share = publisher.sent_share if publisher else None
        metrics = {} if share is None else {"published_share": share}
        return {**metrics, "publish_blocked_s": time.perf_counter() - started_s}

    def _started(self) -> LearnerEngine:
        assert self._engine is not None, "start must come first"
        return self._engine

    def _in_torch_thread(self, work: Callable[[], Result]) -> Result:
        doing = self._torch.submit(work)
        # A little beyond the limit of a collective, whose own message says more.
        limit_s = self._timeout_s + 30.0
        try:
            return doing.result(timeout=limit_s)
        except FutureTimeout:
            if doing.done():  # the work itself raised a TimeoutError
                raise
            raise WaitTimeout(f"learner rank {self._rank}", limit_s, self._activity.describe()) from None
