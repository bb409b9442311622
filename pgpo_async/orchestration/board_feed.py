"""From what is known of a run to its metrics: one function for a look, one for a finished step.

The only place, beside `telemetry`, that sets them; which there are is in `metrics.registry`.
"""

import os
import resource
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import ray

from pgpo_async.actors.queue_types import QueueStats
from pgpo_async.metrics import health_metrics as health
from pgpo_async.metrics import learning_metrics as learning
from pgpo_async.metrics import pipeline_metrics as pipeline
from pgpo_async.metrics import resource_metrics as resources
from pgpo_async.metrics.board import Board
from pgpo_async.metrics.busy_shares import BusyShares
from pgpo_async.metrics.step_record import StepRecord
from pgpo_async.metrics.vitals import vitals
from pgpo_async.orchestration.observation import Observation, state_of, wait_reason

SHARED_MEMORY = Path("/dev/shm")


class BoardFeed:
    """Of one run; `look` and `step` may be called from two threads."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._counts_seen: dict[str, int] = {}
        self._silent: set[str] = set()

    def look(self, seen: Observation, busy: BusyShares) -> None:
        """Take in a look at all actors."""
        self._actors(seen)
        self._generators(seen)
        if seen.stats is not None:
            self._queue(seen.stats)
        self._versions(seen)
        board = self._board
        for stage, total_s in busy.totals_s.items():
            board.reach(pipeline.BUSY, total_s, stage=stage)
        board.set(pipeline.EFFICIENCY, max(busy.shares().values(), default=None))
        for role, num in seen.restarts.items():
            board.reach(health.RESTARTS, num, role=role)
        self._resources()
        board.set(health.OBSERVED, seen.time_s)

    def _actors(self, seen: Observation) -> None:
        board = self._board
        for role in dict.fromkeys((*seen.wanted, *(reading.role for reading in seen.readings))):
            readings = [reading for reading in seen.readings if reading.role == role]
            states = [state_of(reading) for reading in readings]
            for state in pipeline.ACTORS.labels["doing"]:
                board.set(pipeline.ACTORS, states.count(state), role=role, doing=state)
            board.set(pipeline.ACTORS_WANTED, seen.wanted.get(role, len(readings)), role=role)
            board.set(health.SILENCE, max((r.silent_s for r in readings), default=0.0), role=role)
            answers = seen.answers(role).values()
            board.set(resources.RESIDENT, sum(a["rss_bytes"] for a in answers) or None, role=role)
            devices = {gpu: values for answer in answers for gpu, values in answer["gpus"].items()}
            if devices:
                used, limit, use = zip(*devices.values(), strict=True)
                board.set(resources.GPU_MEMORY, sum(used), role=role, kind="used")
                board.set(resources.GPU_MEMORY, sum(limit), role=role, kind="limit")
                board.set(resources.GPU_USE, sum(use) / len(use), role=role)
        silent = {reading.name for reading in seen.stuck()}
        board.add(health.TIMEOUTS, len(silent - self._silent), what="answer")
        self._silent = silent

    def _generators(self, seen: Observation) -> None:
        board, answers = self._board, seen.answers("generator")
        for name, answer in answers.items():
            num_new = self._grown("pauses", {name: answer["num_updates"]})
            for pause_s in answer["update_pauses_s"][-num_new:] if num_new else ():
                board.observe(pipeline.PAUSE, pause_s)
        if not answers:
            return
        said = list(answers.values())
        board.set(pipeline.IN_FLIGHT, sum(a["prompts_in_flight"] for a in said), kind="held")
        board.set(pipeline.IN_FLIGHT, sum(a["prompts_in_flight_limit"] for a in said), kind="limit")
        board.set(pipeline.CACHE, max(a["cache_use"] for a in said))
        board.set(pipeline.ENGINE_WAITING, sum(a["num_waiting"] for a in said))
        for metric, key in ((pipeline.PREEMPTIONS, "num_preempted"), (pipeline.CANCELLED, "num_cancelled")):
            board.add(metric, self._grown(key, {name: a[key] for name, a in answers.items()}))

    def _grown(self, key: str, now: Mapping[str, int]) -> int:
        """By how much actors' counts grew; those of one that is replaced begin again."""
        grown = 0
        for name, count in now.items():
            seen = f"{key} {name}"
            grown += max(0, count - self._counts_seen.get(seen, 0))
            self._counts_seen[seen] = count
        return grown

    def _queue(self, stats: QueueStats) -> None:
        board, books = self._board, stats.accounting
        for state in pipeline.GROUPS.labels["state"]:
            board.set(pipeline.GROUPS, stats.depth.get(state, 0), state=state)
        board.set(pipeline.QUEUE_BYTES, stats.num_bytes, kind="held")
        board.set(pipeline.QUEUE_BYTES, stats.max_bytes, kind="limit")
        board.set(pipeline.SLOTS, stats.num_slots - stats.slots_available, kind="held")
        board.set(pipeline.SLOTS, stats.num_slots, kind="limit")
        for side in pipeline.QUEUE_WAITS.labels["side"]:
            now = wait_reason(stats.waiting[side]) if side in stats.waiting else None
            for reason in pipeline.QUEUE_WAITS.labels["reason"]:
                board.set(pipeline.QUEUE_WAITS, float(reason == now), side=side, reason=reason)
        for end in pipeline.PROMPTS.labels["end"]:
            board.reach(pipeline.PROMPTS, books.as_dict()[end], end=end)
        board.set(pipeline.PENDING, books.pending)
        for reason, count in books.quarantined_by_reason.items():
            board.reach(health.QUARANTINED, count, reason=reason)
        late = books.quarantined_by_reason.get("reward_timeout", 0)
        board.reach(health.TIMEOUTS, late, what="reward")
        board.reach(health.LEASES_LOST, stats.leases_lost)
        board.reach(pipeline.MIXED, stats.mixed_rollouts_trained)

    def _versions(self, seen: Observation) -> None:
        board = self._board
        for role in ("generator", "scorer"):
            answers = seen.answers(role)
            if answers:
                board.set(pipeline.VERSION, min(a["version"] for a in answers.values()), at=role)
                grown = self._grown("num_updates", {name: a["num_updates"] for name, a in answers.items()})
                board.add(pipeline.UPDATES, grown, role=role)
        if seen.store is not None:
            board.set(pipeline.VERSION, seen.store["latest"], at="store")

    def _resources(self) -> None:
        board = self._board
        board.set(resources.RESIDENT, vitals()["rss_bytes"], role="driver")
        with suppress(Exception):  # no promised interface, and Ray may be going down
            total = ray.cluster_resources()["object_store_memory"]
            board.set(resources.OBJECT_STORE, total, kind="limit")
            free = ray.available_resources().get("object_store_memory", 0.0)
            board.set(resources.OBJECT_STORE, total - free, kind="used")
        with suppress(OSError):
            usage = shutil.disk_usage(SHARED_MEMORY)
            board.set(resources.SHARED_MEMORY, usage.used, kind="used")
            board.set(resources.SHARED_MEMORY, usage.total, kind="limit")
        with suppress(OSError):
            board.set(resources.OPEN_FILES, len(os.listdir("/proc/self/fd")), kind="used")
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            board.set(resources.OPEN_FILES, limit, kind="limit")

    def disk(self, folder: Path) -> None:
        """Look at the disk of the run folder."""
        with suppress(OSError):
            usage = shutil.disk_usage(folder)
            self._board.set(resources.DISK, usage.used, kind="used")
            self._board.set(resources.DISK, usage.total, kind="limit")

    def step(self, record: StepRecord, *, generated_tokens: float) -> None:
        """Take in a finished optimizer step."""
        board = self._board
        board.add(pipeline.STEPS, 1)
        board.set(pipeline.STEP, record.step)
        board.observe(pipeline.STEP_TIME, record.step_s)
        board.set(pipeline.STEP_ENDED, record.time_s)
        board.add(pipeline.LEARNER_WAIT, record.learner_wait_s)
        for lag in record.lags:
            board.observe(pipeline.LAG, lag)
        board.set(pipeline.LAG_NEWEST, record.lag_max)
        board.set(pipeline.VERSION, record.version, at="learner")
        board.add(pipeline.TOKENS, generated_tokens, kind="generated")
        board.add(pipeline.TOKENS, record.learner.get("num_tokens", 0.0), kind="trained")
        board.set(pipeline.PUBLISHED, record.learner.get("published_share"))
        board.set(pipeline.PUBLISH_BLOCKED, record.learner.get("publish_blocked_s"))
        board.add(health.SKIPPED, record.learner.get("skipped_step", 0.0))
        self._learning(record)

    def _learning(self, record: StepRecord) -> None:
        board = self._board
        board.set(learning.REWARD, record.reward, part="reward")
        board.set(learning.ACCURACY, record.accuracy)
        for part, value in record.queue.items():
            if part not in ("reward", "num_groups", "response_tokens", "filtered_share"):
                board.set(learning.REWARD, value, part=part)
        board.set(learning.FILTERED, record.queue.get("filtered_share"))
        for name, value in record.learner.items():
            if name.startswith("shaper/"):
                board.set(learning.SHAPER, value, figure=name.removeprefix("shaper/"))
            elif name == "reference_kl" and not value:
                continue  # no reference was asked
            elif name in learning.FROM_LEARNER:
                metric, labels = learning.FROM_LEARNER[name]
                board.set(metric, value, **labels)
