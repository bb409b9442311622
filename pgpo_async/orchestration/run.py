"""One run, from a config to a finished run folder.

Checks, starts, evaluates, trains, evaluates, writes the summary, stops. However it ends, the summary is
written and the machine is left as it was.
"""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import ray
from rich.console import Console

from pgpo_async.actors.process_mark import RUN_ID_VARIABLE
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import Accounting, PgpoError, StageFailed
from pgpo_async.evaluation import Accuracy
from pgpo_async.learner.group import LearnerGroup
from pgpo_async.metrics.durations import summed
from pgpo_async.metrics.package_versions import package_versions
from pgpo_async.orchestration.checkpoints import Checkpoints, Restored
from pgpo_async.orchestration.cluster import CALL_TIMEOUT_S, Cluster
from pgpo_async.orchestration.held_out import evaluate
from pgpo_async.orchestration.leftovers import clean_up
from pgpo_async.orchestration.requests import Inbox
from pgpo_async.orchestration.roles import Roles
from pgpo_async.orchestration.roll_call import statuses
from pgpo_async.orchestration.run_folder import RunFolder
from pgpo_async.orchestration.run_loop import RunLoop
from pgpo_async.orchestration.scaling import answer_request
from pgpo_async.orchestration.service_times import measured_times
from pgpo_async.orchestration.stop_signal import StopSignal
from pgpo_async.orchestration.summary import RunSummary
from pgpo_async.orchestration.telemetry import Telemetry

FLUSH_TIMEOUT_S = 600.0


@dataclass(kw_only=True, slots=True)
class _Figures:
    """What the summary needs, gathered while the actors are still there to be asked."""

    accuracy_before: Accuracy | None = None
    accuracy_after: Accuracy | None = None
    stats: Any = None
    statuses: list[dict[str, Any]] = field(default_factory=list)


class Run:
    """One run from start to summary.

    With `cluster` it goes on with the processes of a run before; with `keep` it leaves its own running,
    if it is completed, for a run to come. A folder that is `resumed` goes on from checkpoint `tag`, or its
    latest.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: RunFolder,
        console: Console,
        *,
        cluster: Cluster | None = None,
        keep: bool = False,
        tag: str | None = None,
        roles: Roles | None = None,
    ) -> None:
        self._config = config
        self._folder = folder
        self._console = console
        self._tag = tag
        self._renewed = cluster is not None
        self._cluster = cluster or Cluster(config, folder.session_id, roles, journal=folder.journal)
        self._keep = keep
        self._telemetry = Telemetry(config, folder, self._cluster, console)
        self._progress = self._telemetry.progress
        self._figures = _Figures()
        self._loop: RunLoop | None = None
        self._began = time.monotonic()
        self._error: str | None = None
        folder.say = self._progress.phase

    def run(self) -> int:
        """Run to the end; return 0, or 130 after a signal."""
        status, at_once = "failed", False
        try:
            with StopSignal(self._folder.tell) as stop, self._progress:
                self._telemetry.start()
                self._start_and_train(stop)
                status = "interrupted" if stop.requested else "completed"
        except KeyboardInterrupt:
            status, at_once = "interrupted", True
        except Exception as error:
            self._error = str(error) or repr(error)
            self._folder.log_event(f"the run failed: {self._error}")
            raise
        finally:
            self._finish(status, at_once=at_once)
            self._folder.unlock()
        return 0 if status == "completed" else 130

    def _start_and_train(self, stop: StopSignal) -> None:
        config, cluster, figures = self._config, self._cluster, self._figures
        if self._renewed:
            stop.install()
            cluster.renew(config, self._folder.run_id, self._folder.tell, journal=self._folder.journal)
        else:
            for session in self._folder.former_sessions:
                clean_up(session, RUN_ID_VARIABLE, grace_s=0.0)
            cluster.start(self._folder.tell, connected=stop.install)
        self._folder.tell(f"ready after {time.monotonic() - self._began:.0f} s")
        self._telemetry.ready()
        restored = self._restore() if self._folder.resumed else None
        if restored is not None:
            figures.accuracy_before = _accuracy(restored.kept.get("accuracy_before"))
            self._telemetry.evaluated(figures.accuracy_before, "before")
        elif config.evaluation.before:
            figures.accuracy_before = self._evaluate(version=0, when="before")
        self._loop = loop = RunLoop(
            config, cluster, self._folder, self._telemetry, lambda: stop.requested, restored
        )
        before = figures.accuracy_before
        loop.kept["accuracy_before"] = None if before is None else asdict(before)
        stop.polite(True)
        inbox = Inbox(self._folder.path, lambda request: answer_request(cluster, request))
        cluster.supervisor.beside = inbox.serve
        try:
            loop.run()
        finally:
            self._gather()
        stop.polite(False)
        self._with_learner(lambda learner: learner.flush(FLUSH_TIMEOUT_S))
        if not stop.requested:
            for _ in range(2):
                self._with_learner(lambda _: loop.handover.check(loop.version))
            figures.accuracy_after = self._evaluate(version=loop.version, when="after")
        self._progress.phase("saving the model")
        self._telemetry.activity.set("saves the model")
        self._with_learner(self._export)
        for problem in self._with_learner(lambda learner: learner.finish_uploads(FLUSH_TIMEOUT_S)):
            self._folder.tell(f"warning: {problem}")

    def _export(self, learner: LearnerGroup) -> None:
        # One that died may have written it, and not said so.
        shutil.rmtree(self._folder.model, ignore_errors=True)
        learner.export_hf(str(self._folder.model))

    def _with_learner(self, work: Callable[[LearnerGroup], Any]) -> Any:
        """Do something after the last step; again if the learner failed, from the last checkpoint."""
        assert self._loop is not None, "training must come first"
        while True:
            try:
                return work(self._cluster.the_learner)
            except StageFailed as error:
                if error.role != "learner":
                    raise
                self._loop.recover(error)

    def _restore(self) -> Restored:
        restored = Checkpoints(self._cluster, self._folder).restore(tag=self._tag)
        self._telemetry.resumed(restored.step)
        self._folder.tell(f"resumed: goes on after step {restored.step}")
        return restored

    def _evaluate(self, version: int, when: str) -> Accuracy | None:
        self._telemetry.activity.set(f"asks held-out prompts at version {version}")
        if self._config.evaluation.num_prompts:
            self._progress.phase(f"asking {self._config.evaluation.num_prompts} held-out prompts")
        accuracy = evaluate(self._config, self._cluster, version)
        if accuracy is not None:
            self._progress.phase(f"held-out accuracy at version {version}: {accuracy}")
        self._telemetry.evaluated(accuracy, when)
        return accuracy

    def _gather(self) -> None:
        try:
            self._figures.stats = ray.get(self._cluster.queue.stats.remote(), timeout=CALL_TIMEOUT_S)
            self._figures.statuses = statuses(self._cluster.working())
            self._telemetry.tracing.collect(self._cluster)
        except (ray.exceptions.RayError, PgpoError) as error:
            self._progress.phase(f"some figures are missing from the summary: {error}")

    @property
    def kept(self) -> Cluster | None:
        """The processes that were left running."""
        return self._cluster if self._keep else None

    def _finish(self, status: str, *, at_once: bool) -> None:
        self._keep = self._keep and status == "completed"
        self._telemetry.close(patient=status == "completed")
        left_behind: list[str] = []
        try:
            if not self._keep:
                left_behind = self._cluster.stop(at_once=at_once)
        except KeyboardInterrupt:
            left_behind = self._cluster.stop(at_once=True)
        summary = self._summary(status, tuple(left_behind))
        self._folder.close()
        self._folder.write_summary(summary.as_json())
        if self._loop is not None:
            self._console.print(summary.table())
        for line in [*self._folder.missing(), *filter(None, [self._telemetry.tracing.failure])]:
            self._console.print(f"missing: {line}", soft_wrap=True, markup=False)
        self._console.print(f"{status}: {self._folder.path}", soft_wrap=True)

    def _summary(self, status: str, left_behind: tuple[str, ...]) -> RunSummary:
        figures, loop = self._figures, self._loop
        generators = [s for s in figures.statuses if s["name"].startswith("generator")]
        scorers = [s for s in figures.statuses if s["name"].startswith("scorer")]
        stats = figures.stats
        return RunSummary(
            status=status,
            steps=loop.steps_done if loop else 0,
            wall_s=time.monotonic() - self._began,
            train_s=loop.train_s if loop else 0.0,
            busy_s={
                "generate": _mean(s["busy_s"] for s in generators),
                "score": _mean(s["busy_s"] for s in scorers),
                "learn": loop.learn_busy_s if loop else 0.0,
            },
            learner_wait_s=loop.learner_wait_s if loop else 0.0,
            max_lag_allowed=self._config.max_lag,
            lag_histogram=stats.lag_histogram if stats else {},
            weight_versions_loaded=sum(s["num_updates"] for s in generators),
            rollouts_with_several_versions=stats.mixed_rollouts_trained if stats else 0,
            accounting=stats.accounting if stats else Accounting(),
            mismatch_kl=_ratio(scorers, "mismatch_sum", "mismatch_tokens"),
            accuracy_before=figures.accuracy_before,
            accuracy_after=figures.accuracy_after,
            left_behind=left_behind,
            extra=self._measured(generators, scorers),
        )

    def _measured(self, generators: list[dict[str, Any]], scorers: list[dict[str, Any]]) -> dict[str, Any]:
        """Return what `plan --from` reads, and what happened to the actors."""
        loop, stats = self._loop, self._figures.stats
        pauses = sorted(pause for status in generators for pause in status["update_pauses_s"])
        measured: dict[str, Any] = {
            "error": self._error,
            "versions": package_versions(),
            "restarts": sum(self._cluster.restarts().values()),
            "skipped_steps": loop.skipped.total if loop else 0,
            "cancelled_in_flight": sum(status["num_cancelled"] for status in generators),
            "update_pause_p50_s": pauses[len(pauses) // 2] if pauses else None,
            "update_pause_max_s": pauses[-1] if pauses else None,
            **(loop.handover.num_bytes if loop else {}),
        }
        if stats is not None:
            measured["slots"] = {
                "num": stats.num_slots,
                "lag_bound": stats.lag_bound,
                "charged": dict(stats.slots_charged),
                "released": dict(stats.slots_released),
            }
        if loop is not None and loop.steps_done and generators and stats is not None:
            measured["service_times"] = asdict(
                measured_times(
                    self._config,
                    generate=summed(status["generate"] for status in generators),
                    score=summed(status["score"] for status in scorers),
                    learn=loop.step_durations,
                    load_s=sum(pauses) / max(len(pauses), 1),
                    accounting=stats.accounting,
                )
            )
        return measured


def _accuracy(values: Mapping[str, Any] | None) -> Accuracy | None:
    return None if values is None else Accuracy(**values)


def _mean(values: Any) -> float:
    numbers = list(values)
    return sum(numbers) / len(numbers) if numbers else 0.0


def _ratio(statuses: list[dict[str, Any]], part: str, whole: str) -> float | None:
    total = sum(s[whole] for s in statuses)
    return sum(s[part] for s in statuses) / total if total else None
