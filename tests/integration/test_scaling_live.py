"""Generators are added to a running job and taken away again: throughput follows, nothing is lost.

Stages that sleep in the real pipeline. The requests come from outside, as `pgpo-async scale` sends them.
"""

import json
import statistics
import threading

import pytest
import ray
from rich.console import Console

from pgpo_async.bench.overlap import Load
from pgpo_async.bench.sleeping_stages import SLEEPING
from pgpo_async.bench.sleeping_times import write_times
from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.cluster import Cluster
from pgpo_async.orchestration.requests import Inbox
from pgpo_async.orchestration.run_folder import RunFolder
from pgpo_async.orchestration.run_loop import RunLoop
from pgpo_async.orchestration.scaling import answer_request, scale_run
from pgpo_async.orchestration.service_times import ServiceTimes
from pgpo_async.orchestration.telemetry import Telemetry

# One generator makes five groups a second, a step of eight takes it 1.6 s; the learner is done in 0.05 s.
TIMES = ServiceTimes(generate_s=0.8, score_s=0.01, learn_s=0.05)
IN_FLIGHT, GROUPS = 4, 8
WATCHED = 6


class Scaled:
    """A run that is told to have three generators, then one; `step_s` by the number at work."""

    def __init__(self, config):
        write_times(config, TIMES)
        folder = RunFolder(config)
        self.said, self.step_s, self.answers = [], {}, []
        self.phases = iter((1, 3, 1))
        cluster = Cluster(config, folder.run_id, SLEEPING, journal=folder.journal)
        try:
            cluster.start(self.said.append)
            cluster.supervisor.beside = Inbox(
                folder.path, lambda request: answer_request(cluster, request)
            ).serve
            telemetry = Telemetry(config, folder, cluster, Console(quiet=True))
            self.folder, self.count, self.since = folder, 1, 0
            self.loop = RunLoop(config, cluster, folder, telemetry, self.watch)
            self.loop.run()
            self.stats = ray.get(cluster.queue.stats.remote(), timeout=30)
        finally:
            self.left_behind = cluster.stop()
        self.records = [json.loads(line) for line in (folder.path / "metrics.jsonl").read_text().splitlines()]

    def watch(self):
        """Between steps: measure a while, ask for another number, wait until they work."""
        step = self.loop.steps_done
        if self.since is None:
            working = sum(" works" in line for line in self.said) == 2
            gone = sum(" has left" in line for line in self.said) == 2
            if working if self.count == 3 else gone:
                self.since = step + 2  # what was under way is done
        elif step - self.since >= WATCHED:
            self.step_s.setdefault(self.count, []).append((self.since, step))
            if len(self.step_s.get(1, ())) == 2:
                return True
            self.count, self.since = (3 if self.count == 1 else 1), None
            # From another thread, since the run's own answers: as another process would.
            asked = threading.Thread(target=self.ask, args=(self.count,))
            asked.start()
        return False

    def ask(self, count):
        self.answers.append(scale_run(self.folder.path, [f"generator={count}"]))

    def mean_step_s(self, count):
        times = {record["step"]: record["step_s"] for record in self.records}
        spans = self.step_s[count]
        return statistics.mean(times[step] for first, last in spans for step in range(first + 1, last + 1))


@pytest.fixture(scope="module")
def scaled(tmp_path_factory):
    values = (
        Load(name="scaled", times=TIMES, generators=1, in_flight=IN_FLIGHT)
        .config(steps=400, output_dir=str(tmp_path_factory.mktemp("scaled")))
        .model_dump()
    )
    values["train"] |= {"groups_per_step": GROUPS, "save_every": 0}
    values["supervision"] |= {"check_every_s": 0.2}
    values["ray"] |= {"num_cpus": 8}
    return Scaled(RunConfig.model_validate(values))


def test_throughput_follows_the_number_of_generators(scaled):
    assert scaled.answers == ["generators: 1 -> 3", "generators: 3 -> 1"]
    one, three = scaled.mean_step_s(1), scaled.mean_step_s(3)
    assert 2.0 < one / three < 3.6, (one, three)


def test_no_group_is_lost_or_trained_twice_and_no_slot_leaks(scaled):
    books, steps = scaled.stats.accounting, len(scaled.records)
    assert books.balanced
    assert books.trained == steps * GROUPS
    assert books.quarantined == 0
    trained = [group for record in scaled.records for group in record["groups"]]
    assert len(set(trained)) == len(trained)
    charged, released = sum(scaled.stats.slots_charged.values()), sum(scaled.stats.slots_released.values())
    assert charged - released <= books.pending, "who left has given back what it held"
    assert scaled.left_behind == []
