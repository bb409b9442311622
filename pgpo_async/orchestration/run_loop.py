"""The learner's loop, and the picture of everything that runs beside it.

    prompts --> [generators] --> [replay queue] <--> [scorers]
                    ^  rewards        |
                    |                 v  lease a batch, ack
              [weight store] <---- [learner]  <== this loop drives it

    loop        consumes           produces            waits for                      freed by
    source      dataset cursor     reserved slots      an admission slot              any exit of a prompt
    generator   reserved prompts   generated groups    vLLM capacity; queue bytes     finished requests; lease
    scorer      generated groups   scored groups       groups; a free device          commit of scores
    learner     scored groups      weight versions     a full batch within lag        commit of scores
    publisher   step snapshot      versions            the staging buffer             previous publish done
    receivers   versions           loaded weights      a newer version                publish

The loop itself waits for one thing only: the next batch. It never waits for a receiver of weights.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import ray

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import LeaseError, PgpoError, StageFailed, WaitTimeout
from pgpo_async.contracts.errors import plain
from pgpo_async.metrics.durations import Durations
from pgpo_async.orchestration.batch_ahead import BatchAhead
from pgpo_async.orchestration.checkpoints import Checkpoints, Restored
from pgpo_async.orchestration.cluster import CALL_TIMEOUT_S, Cluster
from pgpo_async.orchestration.handover import Handover
from pgpo_async.orchestration.run_folder import RunFolder
from pgpo_async.orchestration.skipped_steps import SkippedSteps
from pgpo_async.orchestration.step_books import FinishedStep, StepBooks
from pgpo_async.orchestration.telemetry import Telemetry

HOLDER = "learner"
POLL_S = 5.0
# Batches in a row that the learner may fail to read before the run ends.
MAX_UNREADABLE = 3


@contextmanager
def keep_leases(queue: Any, every_s: float) -> Iterator[None]:
    """Keep the learner's leases alive while it is busy: a step may take longer than a lease."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(every_s):
            queue.heartbeat.remote(HOLDER)

    thread = threading.Thread(target=beat, name="learner-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class RunLoop:
    """Trains to `train.num_steps`, or until `should_stop` says so after a step."""

    def __init__(
        self,
        config: RunConfig,
        cluster: Cluster,
        folder: RunFolder,
        telemetry: Telemetry,
        should_stop: Callable[[], bool],
        start: Restored | None = None,
    ) -> None:
        self._config = config
        self._cluster = cluster
        self._folder = folder
        self._telemetry = telemetry
        self._should_stop = should_stop
        self._spans = telemetry.tracing.spans
        self._activity = telemetry.activity
        self._restored = start
        self.steps_done = start.step if start else 0
        self.version = start.version if start else 0
        self.skipped = SkippedSteps(config, folder)
        # Saved with every checkpoint for whoever goes on with the run; JSON.
        self.kept: dict[str, Any] = dict(start.kept) if start else {}
        self._checkpoints = Checkpoints(cluster, folder)
        self.train_s = 0.0
        self.learner_wait_s = 0.0
        self.learn_busy_s = 0.0
        self.step_durations = Durations()
        self._num_unreadable = 0
        self.handover = Handover(cluster, folder)
        self._ahead = BatchAhead(cluster, HOLDER, config.train.groups_per_step)
        self._books = StepBooks(config, cluster, folder, telemetry)

    def run(self) -> None:
        """Run the loop. Raises StageFailed, WaitTimeout; the caller stops the cluster either way."""
        began = time.monotonic()
        if self._restored is None:
            self._checkpoints.begin()
        else:
            self._books.go_on()
        self._cluster.start_loops()
        try:
            with keep_leases(self._cluster.queue, self._config.queue.lease_timeout_s / 4):
                while not self._done():
                    self._or_recover(self._step)
        finally:
            self.train_s = time.monotonic() - began
            # However the run ends, its last step is in the books if that can be done.
            with suppress(PgpoError, ray.exceptions.RayError):
                self._books.settle()
            self._ahead.give_back(POLL_S + CALL_TIMEOUT_S)
            self._cluster.stop_loops()
            # What was quarantined after the last step's look has its record, too.
            with suppress(PgpoError, ray.exceptions.RayError):
                self._books.look()

    def _done(self) -> bool:
        """Whether the last step is done and saved; a learner that dies meanwhile goes back to do it again."""
        if self.steps_done < self._config.train.num_steps and not self._should_stop():
            return False
        return self._or_recover(self.save)

    def _or_recover(self, work: Callable[[], object]) -> bool:
        """Do something with the learner; return False if it failed, and is back at its last checkpoint."""
        try:
            work()
        except StageFailed as error:
            if error.role != "learner":
                raise
            self.recover(error)
            return False
        return True

    def recover(self, error: StageFailed) -> None:
        """Start the ranks again from the last checkpoint, while everybody else goes on."""
        with suppress(PgpoError, ray.exceptions.RayError):
            self._books.settle()
        self._ahead.drop()
        self._activity.set("starts the learner again")
        self._cluster.restart_learner(error)
        self._activity.set("loads a checkpoint")
        restored = self._checkpoints.restore(newest_version=self.version)
        self._folder.tell(
            f"the learner goes on after step {restored.step} of {self.steps_done}, "
            f"its weights are version {restored.version}"
        )
        self.steps_done, self.version = restored.step, restored.version
        self._books.go_on()

    def _step(self) -> None:
        began = time.monotonic()
        self._activity.set(f"step {self.steps_done + 1}: waits for a batch")
        with self._spans.span("wait for a batch", step=self.steps_done):
            leases = self._next_batch()
        with self._telemetry.learning.working():
            self._learn(leases, began)
        self._save_if_due()

    def _learn(self, leases: Sequence[Any], began: float) -> None:
        learning = time.monotonic()
        waited_s = learning - began
        self.learner_wait_s += waited_s
        learner = self._cluster.the_learner
        self._activity.set(f"step {self.steps_done + 1}: waits for the learner to train")
        try:
            with self._spans.span("train", step=self.steps_done):
                metrics = learner.train_step(
                    leases, step=self.steps_done, meanwhile=lambda: self._beside(self.steps_done + 1)
                )
        except LeaseError as error:
            self._put_back(leases, error)
            return
        self._num_unreadable = 0
        self.skipped.note(self.steps_done + 1, metrics, leases)
        # The queue counts the batch while the weights are handed over.
        ids = [lease.group_id for lease in leases]
        look = self._cluster.queue.finish_step.remote(ids, HOLDER, self.version)
        self.steps_done += 1
        self.version += 1
        self._activity.set(f"step {self.steps_done}: waits for the learner's version {self.version}")
        with self._spans.span("hand over weights", version=self.version):
            metrics |= self.handover.publish(self.version)
        ended = time.monotonic()
        self.learn_busy_s += ended - learning
        self.step_durations.add(ended - learning)
        self._books.note(
            FinishedStep(
                number=self.steps_done,
                version=self.version,
                look=look,
                leases=leases,
                learner=metrics,
                waited_s=waited_s,
                step_s=ended - began,
            )
        )

    def _beside(self, next_step: int) -> None:
        """Do what can be done while the ranks work."""
        if next_step < self._config.train.num_steps:
            self._ahead.begin(next_step, self.version + 1, POLL_S)
        self._books.settle()

    def _put_back(self, leases: Sequence[Any], error: LeaseError) -> None:
        """Return a batch that could not be read; a few in a row end the run."""
        self._num_unreadable += 1
        if self._num_unreadable == MAX_UNREADABLE:
            raise StageFailed(f"{MAX_UNREADABLE} batches in a row: {error}", role="learner") from error
        self._folder.tell(f"step {self.steps_done + 1} begins again: {error}")
        self._ahead.give_back(POLL_S + CALL_TIMEOUT_S)
        try:
            self._call(self._cluster.queue.abandon.remote([lease.group_id for lease in leases], HOLDER))
        except Exception as lost:
            # The queue's process was replaced: its groups are back without our doing.
            if not isinstance(plain(lost), LeaseError):
                raise

    def _next_batch(self) -> Sequence[Any]:
        train = self._config.train
        began = time.monotonic()
        while True:
            call = self._ahead.call() or self._cluster.queue.lease_batch.remote(
                HOLDER, self.version, train.groups_per_step, POLL_S
            )
            done, leases = self._cluster.wait(call, 0.0)
            if not done:
                self._books.settle()
                done, leases = self._cluster.wait(call, POLL_S + CALL_TIMEOUT_S)
            if not done:
                raise StageFailed("the replay queue does not answer", role="queue")
            if leases:
                self._ahead.wait_prepared()
                return list(leases)
            waited_s, state = time.monotonic() - began, self._books.look()
            if waited_s > train.batch_timeout_s:
                raise WaitTimeout(f"a batch of {train.groups_per_step} scored groups", waited_s, state)
            self.handover.check(self.version)
            self._telemetry.waited_in_vain()
            self._telemetry.progress.waiting(
                f"a batch of {train.groups_per_step} groups since {waited_s:.0f} s; {state}"
            )

    def _save_if_due(self) -> None:
        every = self._config.train.save_every
        if every and self.steps_done % every == 0 and self.steps_done < self._config.train.num_steps:
            self.save()

    def save(self) -> None:
        """Write a checkpoint of the steps done so far, whose lines come first: a resumed run writes none."""
        self._books.settle()
        self._activity.set(f"saves a checkpoint of step {self.steps_done}")
        warnings = self._checkpoints.save(
            step=self.steps_done,
            version=self.version,
            value=self._books.take_accuracy(),
            kept=self.kept,
        )
        self._telemetry.checkpoint_saved(self.steps_done)
        for warning in warnings:
            self._folder.tell(f"warning: {warning}")

    def _call(self, ref: Any) -> Any:
        return ray.get(ref, timeout=CALL_TIMEOUT_S)
