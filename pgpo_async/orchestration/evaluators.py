"""Held-out accuracy while training goes on: engines of their own, each evaluation at one weight version.

Owns those engines and the thread that asks them; nobody waits for it. Their weights change between two
evaluations only. An evaluation that is due while another goes on is passed over, and said to be. Whatever
goes wrong here is told, and training goes on. Called by `telemetry`.
"""

import functools
import threading
import time
from dataclasses import asdict, dataclass
from typing import Any

import ray

from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import PgpoError, Prompt, StageFailed
from pgpo_async.evaluation import Accuracy, average_accuracy
from pgpo_async.orchestration.asking import ask
from pgpo_async.orchestration.cluster import Cluster
from pgpo_async.orchestration.engine_pool import EnginePool
from pgpo_async.orchestration.held_out import accuracy_part, held_out_prompts
from pgpo_async.orchestration.run_folder import RunFolder

MOST_TRIES = 3
"""Of one evaluation whose engines die in it, or come to different weights."""
LAST_S = 600.0
"""Longest a run that has completed waits for the evaluation that is under way."""
ENDING_S = 10.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Of the weights after `step`, which are `version`."""

    step: int
    version: int
    accuracy: Accuracy
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """A line of `evaluations.jsonl`."""
        told = asdict(self.accuracy)
        return {
            "step": self.step,
            "version": self.version,
            "accuracy": told.pop("mean"),
            **told,
            "seconds": self.seconds,
            "time_s": time.time(),
        }


class _Unpinned(Exception):
    """Answers of several versions: an engine died, and another began with newer weights."""


class Evaluators:
    """`start` once the cluster is up, `due` after each step. `done` is called from its thread."""

    def __init__(self, config: RunConfig, cluster: Cluster, folder: RunFolder, done: Any) -> None:
        self._config = config
        self._folder = folder
        self._done = done
        self._pool = EnginePool(
            "evaluator", config.evaluation.replicas, config, cluster.evaluator, folder.tell
        )
        self._next: tuple[int, int] | None = None
        self._news = threading.Condition()
        self._evaluated: int | None = None
        self._working = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="evaluators", daemon=True)

    def start(self) -> None:
        """Let the engines load, beside whatever else goes on."""
        self._pool.start()
        self._thread.start()

    def due(self, step: int, version: int) -> None:
        """Note a finished step, which made `version`; it is evaluated if its turn has come."""
        if step % self._config.evaluation.every:
            return
        with self._news:
            if self._next is not None:
                self._folder.tell(
                    f"the evaluation of step {self._next[0]} is passed over: the one before is not done"
                )
            self._next = (step, version)
            self._news.notify_all()

    def close(self, *, patient: bool) -> None:
        """End, with what is under way or due if `patient`."""
        with self._news:
            if patient:
                self._news.wait_for(self._is_idle, LAST_S)
            self._stopping = True
            self._news.notify_all()
        self._thread.join(ENDING_S)
        self._pool.close()

    def _is_idle(self) -> bool:
        return not self._thread.is_alive() or (self._next is None and not self._working)

    def _run(self) -> None:
        try:
            while (wanted := self._take()) is not None:
                if not self._is_new(wanted[1]):
                    continue
                try:
                    self._tell(self._evaluate(*wanted))
                except ValueError as error:  # not one prompt could be answered
                    self._folder.tell(f"warning: the evaluation of step {wanted[0]} failed: {error}")
        except (PgpoError, ray.exceptions.RayError) as error:
            if not self._stopping:
                self._folder.tell(f"warning: no more evaluations during this run: {error}")
        finally:
            with self._news:
                self._working = False
                self._news.notify_all()

    def _take(self) -> tuple[int, int] | None:
        with self._news:
            self._working = False
            self._news.notify_all()
            self._news.wait_for(lambda: self._stopping or self._next is not None)
            if self._stopping:
                return None
            wanted, self._next = self._next, None
            self._working = True
            return wanted

    def _is_new(self, version: int) -> bool:
        """Whether the last evaluation, which took the newest weights, was not of these already."""
        return self._evaluated is None or version > self._evaluated

    def _evaluate(self, step: int, version: int) -> Evaluation:
        for _ in range(MOST_TRIES):
            pinned = self._pinned(version)
            began = time.monotonic()
            try:
                accuracy = self._accuracy(pinned)
            except _Unpinned:
                continue
            return Evaluation(
                step=step + pinned - version,
                version=pinned,
                accuracy=accuracy,
                seconds=time.monotonic() - began,
            )
        raise StageFailed(f"the engines died in {MOST_TRIES} evaluations of step {step}", role="evaluator")

    def _pinned(self, version: int) -> int:
        """Bring all engines to one version, this or a newer one."""
        while True:
            engines = self._pool.wait_ready()
            calls = {engine.load_version.remote(version): engine for engine in engines}
            found = set()
            for call, engine in calls.items():
                try:
                    found.add(ray.get(call, timeout=self._config.weights.load_timeout_s))
                except ray.exceptions.RayActorError as error:
                    self._pool.replace(engine, error)
            if len(found) == 1 and self._pool.wait_ready() == engines:
                return int(found.pop())
            version = max(found, default=version)

    def _accuracy(self, version: int) -> Accuracy:
        prompts, num_failed = self._prompts
        groups = []
        for answer in ask(self._pool, prompts, self._config, version=version):
            if self._stopping:
                raise StageFailed("the run has ended", role="evaluator")
            if answer.group is None:
                num_failed += 1
                continue
            seen = {span.version for rollout in answer.group.rollouts for span in rollout.version_spans}
            if seen - {version}:
                raise _Unpinned
            groups.append(answer.group)
        return average_accuracy(groups, num_failed=num_failed, part=accuracy_part(self._config))

    @functools.cached_property
    def _prompts(self) -> tuple[list[Prompt], int]:
        """Read once: they are the same in each evaluation, and reading decodes every image."""
        return held_out_prompts(self._config)

    def _tell(self, evaluation: Evaluation) -> None:
        self._evaluated = evaluation.version
        self._folder.log_evaluation(evaluation.as_json())
        self._done(evaluation)
