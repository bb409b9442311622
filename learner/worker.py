"""One rank of the learner as an actor: messages in, the trainer's work in one thread, status at any time.

Owns the thread (torch keeps thread-local state: all of its work, from joining the ranks on, runs in that
one), its time limits, and the reading of groups beside it. What a message does is `trainer`'s. A plain class:
`ray.remote` is applied where it is placed, with `group.ACTOR_OPTIONS`, since `status` must be answered while
a step runs. Called by `group` only.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import ray

from pgpo_async.config import RunConfig
from pgpo_async.contracts import LeaseError, Publish, WaitTimeout
from pgpo_async.contracts.arrow import warm_up
from pgpo_async.learner import checkpoint
from pgpo_async.learner.checkpoint import CheckpointInfo
from pgpo_async.learner.payloads import fetch, scored
from pgpo_async.learner.ports import free_port
from pgpo_async.metrics.activity import Activity
from pgpo_async.metrics.spans import Span, Spans
from pgpo_async.metrics.vitals import vitals

Result = TypeVar("Result")


class LearnerWorker:
    """Rank `rank` of `world_size`. `publish` is used by rank 0 only; without it nothing is published.

    First `address` (rank 0), then `start` on all ranks at once; then all but `status`, `flush`,
    `prepare_save` and `finish_uploads` are collective: every rank gets the same message in the same order.
    """

    def __init__(self, config: RunConfig, rank: int, world_size: int, publish: Publish | None = None) -> None:
        self._rank, self._world_size = rank, world_size
        warm_up()
        self._activity = Activity()
        self._torch = ThreadPoolExecutor(max_workers=1, thread_name_prefix="torch")
        self._beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prepare")
        self._begin(config)
        self._trainer = self._make_trainer(publish)

    def _begin(self, config: RunConfig) -> None:
        self._config = config
        self._timeout_s = config.learner.step_timeout_s
        self._spans = Spans(config.trace)
        self._prepared: tuple[list[Any], Future[Any]] | None = None

    def _make_trainer(self, publish: Publish | None) -> Any:
        # Torch, transformers and DeepSpeed: not imported by a driver, which places ranks and is none.
        from pgpo_async.learner.trainer import Trainer

        return Trainer(
            self._config, self._rank, self._world_size, publish, activity=self._activity, spans=self._spans
        )

    def address(self) -> tuple[str, int]:
        """This node's address and a port that is free on it."""
        return ray.util.get_node_ip_address(), free_port()

    def start(self, master_addr: str, master_port: int) -> float:
        """Join the other ranks and load the model; returns its `ModelWork.pair_cost`. Collective."""
        pair_cost: float = self._in_torch_thread(lambda: self._trainer.start(master_addr, master_port))
        return pair_cost

    def renew(self, config: RunConfig, publish: Publish | None = None) -> float:
        """Begin another run with the same ranks and a fresh model; returns as `start`. Collective."""
        self._trainer.close()
        self._begin(config)
        pair_cost: float = self._in_torch_thread(lambda: self._trainer.renew(config, publish, self._spans))
        return pair_cost

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

    def publish(self, version: int, again: bool = False) -> dict[str, float]:
        """Snapshot the weights and send them on in the background. Collective.

        `again`: this version was sent, and got lost where it was kept; it is sent whole.

        Returns `publish_blocked_s`, `weight_bytes` of the whole model and, on rank 0 once a version was sent,
        `published_bytes` of the last one and `published_share`, these by the bytes of its files.

        Raises WeightError on rank 0 if an earlier version could not be sent.
        """
        return self._in_torch_thread(lambda: self._trainer.publish(version, again))

    def flush(self, timeout_s: float) -> int | None:
        """Wait until the last version is sent; returns it. Raises WaitTimeout, WeightError."""
        sent: int | None = self._trainer.flush(timeout_s)
        return sent

    def prepare_save(self, folder: str, tag: str, state: Mapping[str, Any]) -> None:
        """Before `save`, on rank 0 only. Raises ValueError, see `checkpoint.prepare`."""
        checkpoint.prepare(Path(folder), tag, state)

    def save(self, folder: str, info: CheckpointInfo) -> tuple[str, ...]:
        """Save everything that a later `load` needs; returns warnings on rank 0. Collective."""
        return self._in_torch_thread(lambda: self._trainer.save(Path(folder), info))

    def finish_uploads(self, timeout_s: float) -> tuple[str, ...]:
        """Wait until what was saved is sent; returns what failed. On rank 0 only. Raises WaitTimeout."""
        problems: tuple[str, ...] = self._trainer.finish_uploads(timeout_s)
        return problems

    def load(self, folder: str, tag: str | None) -> CheckpointInfo | None:
        """Load a checkpoint, checked first: see `saving.load`. Collective."""
        info: CheckpointInfo | None = self._in_torch_thread(lambda: self._trainer.load(Path(folder), tag))
        return info

    def export_hf(self, folder: str) -> None:
        """Write the model as transformers and vLLM load it. Collective.

        Raises ValueError on all ranks if `folder` exists and is not empty.
        """
        self._in_torch_thread(lambda: self._trainer.export_hf(Path(folder)))

    def status(self) -> dict[str, Any]:
        """Rank, process, what it is doing and since when; answered at any time."""
        doing, for_s = self._activity.now()
        return {"rank": self._rank, "doing": doing, "for_s": for_s, **vitals()}

    def take_spans(self) -> list[Span]:
        """What this rank traced since the last call."""
        return self._spans.take()

    def shutdown(self) -> None:
        """Leave the ranks; the process may be killed then. Collective."""
        self._trainer.close()
        self._in_torch_thread(self._trainer.leave)

    def _train_step(
        self, payloads: Sequence[Any], step: int, version: int, normalizer: float
    ) -> dict[str, float]:
        clock = time.perf_counter
        started_s = clock()
        try:
            work = self._ready_work(payloads, step, version, normalizer)
        except Exception as error:
            # The others must not be left waiting in a collective: tell them, and all drop the step.
            self._drop_step(error)
        ready_s = clock()
        with self._spans.span("step", step=step):
            metrics = self._trainer.train_step(work)
        return {**metrics, "fetch_s": ready_s - started_s, "busy_s": clock() - started_s}

    def _ready_work(self, payloads: Sequence[Any], step: int, version: int, normalizer: float) -> Any:
        self._activity.set(f"reading the groups of step {step}")
        prepared, self._prepared = self._prepared, None
        if prepared is not None and prepared[0] == list(payloads):
            return prepared[1].result(timeout=self._timeout_s)
        return self._work_of(payloads, step, version, normalizer)

    def _work_of(self, payloads: Sequence[Any], step: int, version: int, normalizer: float) -> Any:
        with self._spans.span("fetch", step=step):
            data = fetch(payloads, self._timeout_s)
        with self._spans.span("collate", step=step):
            groups = [scored(item, needed=self._config.uses_scorers) for item in data]
            return self._trainer.plan(groups, step, version, normalizer)

    def _drop_step(self, error: Exception) -> NoReturn:
        try:
            self._trainer.train_step(None, f"{type(error).__name__}: {error}")
        except LeaseError as agreed:
            raise agreed from error
        raise AssertionError("a step without work must be dropped")

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
