"""All that a run says of itself while it goes on, in one place: the run's loop tells it, others show it.

    progress     what the user sees in the terminal
    tracing      timeline.json
    board        metrics, for Prometheus (exporter) and Ray (mirror)
    observer     status.json, and the metrics of what nobody tells
    samples      whole groups of some steps
    evaluators   held-out accuracy while training goes on
    sinks        other trackers

Made by `run`, fed by `run_loop` and `step_books`.
"""

import time
from collections.abc import Sequence
from typing import Any

import yaml
from rich.console import Console

from pgpo_async import __version__
from pgpo_async.config import dump_config
from pgpo_async.config.schema import RunConfig
from pgpo_async.evaluation import Accuracy
from pgpo_async.metrics import health_metrics as health
from pgpo_async.metrics import learning_metrics as learning
from pgpo_async.metrics import pipeline_metrics as pipeline
from pgpo_async.metrics.activity import Activity
from pgpo_async.metrics.board import Board
from pgpo_async.metrics.busy import BusyClock
from pgpo_async.metrics.busy_shares import BusyShares
from pgpo_async.metrics.exporter import Exporter
from pgpo_async.metrics.progress import Progress
from pgpo_async.metrics.ray_mirror import RayMirror
from pgpo_async.metrics.sinks import SinkWriter
from pgpo_async.metrics.step_record import StepRecord
from pgpo_async.metrics.trackers import make_sinks
from pgpo_async.orchestration import status_file
from pgpo_async.orchestration.board_feed import BoardFeed
from pgpo_async.orchestration.cluster import Cluster
from pgpo_async.orchestration.evaluators import Evaluation, Evaluators
from pgpo_async.orchestration.nodes import metrics_urls
from pgpo_async.orchestration.observation import Observation
from pgpo_async.orchestration.observer import Observer
from pgpo_async.orchestration.roll_call import members
from pgpo_async.orchestration.run_folder import RunFolder
from pgpo_async.orchestration.samples import Samples
from pgpo_async.orchestration.tracing import Tracing

UNSEEN_S = 60.0
"""Without a look at the actors for so long /healthz says that the driver is not well."""


class Telemetry:
    """Of one run. `start` before anything else does, `close` last."""

    def __init__(self, config: RunConfig, folder: RunFolder, cluster: Cluster, console: Console) -> None:
        self._config = config
        self._folder = folder
        self._cluster = cluster
        self.progress = Progress(config.train.num_steps, console)
        self.tracing = Tracing(config.trace, folder.timeline)
        self.activity = Activity()
        self.learning = BusyClock()
        self.board = Board(folder.run_id)
        self._feed = BoardFeed(self.board)
        self._samples = Samples(config.metrics, folder, config.train.num_steps)
        self._mirror = RayMirror(self.board) if config.metrics.mirror_to_ray else None
        self._exporter: Exporter | None = None
        self._sinks: SinkWriter | None = None
        self._evaluators: Evaluators | None = None
        self._evaluates = True
        self._ray_urls: list[str] = []
        self._paused = False
        self.step = 0
        self.observer = Observer(
            members=lambda: members(cluster),
            facts=lambda: {"restarts": cluster.restarts(), "wanted": cluster.wanted()},
            activity=self.activity,
            learning=self.learning,
            shows=(self._fill_board, self._write_status),
            every_s=config.metrics.every_s,
        )

    def start(self) -> None:
        """Open what others look at. Raises ConfigError for a port or a tracker that cannot be had."""
        metrics, board = self._config.metrics, self.board
        if metrics.port is not None:
            self._exporter = Exporter(board, host=metrics.host, port=metrics.port, health=self.problem)
            self.progress.phase(f"metrics: {self._exporter.url}")
        settings = yaml.safe_load(dump_config(self._config))
        sinks = make_sinks(metrics, self._folder.run_id, self._folder.path, settings)
        self._sinks = SinkWriter(sinks, self._folder.tell)
        board.set(pipeline.RUN, 1, version=__version__, method=self._config.algorithm.shaper.name)
        board.set(pipeline.STEPS_WANTED, self._config.train.num_steps)
        board.set(pipeline.LAG_LIMIT, self._config.max_lag)
        begun = (pipeline.STEPS, pipeline.LEARNER_WAIT, pipeline.STEP_TIME, pipeline.LAG, pipeline.PAUSE)
        for metric in (*begun, health.SKIPPED):
            board.begin(metric)
        for kind in pipeline.TOKENS.labels["kind"]:
            board.begin(pipeline.TOKENS, kind=kind)
        board.begin(health.TIMEOUTS, what="batch")
        self.observer.start()

    @property
    def url(self) -> str | None:
        """Where Prometheus finds the metrics."""
        return self._exporter.url if self._exporter else None

    def ready(self) -> None:
        """All actors are there: say where what they export themselves can be scraped."""
        metrics = self._config.metrics
        if self._config.evaluation.every:
            self._evaluators = Evaluators(self._config, self._cluster, self._folder, self._evaluated_during)
            self._evaluators.start()
        if metrics.engine or metrics.mirror_to_ray:
            self._ray_urls = metrics_urls()
            found = ", ".join(self._ray_urls) or "none: Ray must be installed as ray[default] for it"
            self.progress.phase(f"Ray's own metrics: {found}")

    def problem(self) -> str | None:
        """What is wrong with the driver itself, for /healthz; a stuck stage is no reason to end it."""
        unseen_s = time.monotonic() - self.observer.looked_s
        limit_s = UNSEEN_S + 2 * self._config.metrics.every_s
        return f"no look at the actors since {unseen_s:.0f} s" if unseen_s > limit_s else None

    def step_done(self, record: StepRecord, leases: Sequence[Any]) -> None:
        """Take in a finished step. `leases` are its groups, which can still be fetched."""
        self.step = record.step
        if self._paused:
            return
        self.progress.step(record)
        self.tracing.step_done(record.step, self._cluster)
        self._feed.step(record, generated_tokens=self._generated_tokens(record))
        if self._sinks is not None:
            self._sinks.step(record.step, record.as_json())
        if self._samples.due(record.step):
            self._keep_samples(record.step, leases)
        if self._evaluators is not None and self._evaluates:
            self._evaluators.due(record.step, record.version)

    def _generated_tokens(self, record: StepRecord) -> float:
        num_groups = record.queue.get("num_groups", 0.0)
        tokens = record.queue.get("response_tokens", 0.0)
        return num_groups * self._config.generation.group_size * tokens

    def _keep_samples(self, step: int, leases: Sequence[Any]) -> None:
        kept = self._samples.keep(step, leases)
        if self._sinks is not None and kept:
            self._sinks.samples(step, kept)

    def pipeline_now(self) -> dict[str, float]:
        """What a step's line tells of the pipeline, as last seen."""
        found = {f"busy_{stage}": share for stage, share in self.observer.shares().items()}
        stats = self.observer.last.stats if self.observer.last else None
        if stats is not None:
            found |= {f"queue_{state}": float(num) for state, num in stats.depth.items()}
            found["queue_bytes"] = float(stats.num_bytes)
        return found

    def pause(self, paused: bool) -> None:
        """Say and see nothing for a while, or again: what `bench metrics` compares."""
        self._paused = paused
        self.observer.pause(paused)

    def evaluate(self, on: bool) -> None:
        """Begin no more evaluations, or again: what `bench evaluation` compares."""
        self._evaluates = on

    def waited_in_vain(self) -> None:
        """Note that the learner found no batch and asks again."""
        self.board.add(health.TIMEOUTS, 1, what="batch")

    def checkpoint_saved(self, step: int) -> None:
        """Note a checkpoint."""
        self.board.set(health.CHECKPOINT, step)

    def resumed(self, step: int) -> None:
        """Note that the run goes on after this step, which a checkpoint holds."""
        self.step = step
        self.board.set(pipeline.STEP, step)
        self.checkpoint_saved(step)

    def evaluated(self, accuracy: Accuracy | None, when: str) -> None:
        """Note the held-out accuracy `before` or `after` training."""
        if accuracy is not None:
            self.board.set(learning.HELD_OUT, accuracy.mean, when=when)

    def _evaluated_during(self, evaluation: Evaluation) -> None:
        self.board.set(learning.HELD_OUT, evaluation.accuracy.mean, when="during")
        self.progress.phase(f"held-out accuracy after step {evaluation.step}: {evaluation.accuracy}")

    def close(self, *, patient: bool = False) -> None:
        """Stop looking, and give back what was opened; with an evaluation under way done if `patient`."""
        if self._evaluators is not None:
            self._evaluators.close(patient=patient)
        self.observer.stop()
        self.tracing.close()
        if self._sinks is not None:
            self._sinks.close()
        if self._exporter is not None:
            self._exporter.close()

    def _fill_board(self, seen: Observation, busy: BusyShares) -> None:
        board, folder = self.board, self._folder
        self._feed.look(seen, busy)
        self._feed.disk(folder.path)
        board.reach(health.WARNINGS, folder.num_warnings)
        board.reach(health.WRITE_FAILURES, folder.num_failures)
        board.reach(health.ROLLED_BACK, folder.num_rolled_back)
        if self._mirror is not None:
            self._mirror.copy()

    def _write_status(self, seen: Observation, busy: BusyShares) -> None:
        status = status_file.as_json(
            seen,
            step=self.step,
            num_steps=self._config.train.num_steps,
            max_lag=self._config.max_lag,
            every_s=self._config.metrics.every_s,
            metrics_urls=[*([self._exporter.url] if self._exporter else []), *self._ray_urls],
            busy=busy.shares(),
        )
        self._folder.write_status(status)
