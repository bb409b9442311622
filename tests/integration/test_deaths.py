"""Every process of a run killed or stopped once, and its driver killed and resumed: nothing is lost or twice.

Stages that sleep in the real pipeline, with its queue, journal, store, supervision and checkpoints.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import pytest
import ray
from rich.console import Console
from support.nan_learner import NanLearner

from pgpo_async.bench.overlap import Load
from pgpo_async.bench.sleeping_stages import SLEEPING
from pgpo_async.bench.sleeping_times import write_times
from pgpo_async.config import dump_config
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import decode
from pgpo_async.orchestration.cluster import Cluster
from pgpo_async.orchestration.held_out import evaluate
from pgpo_async.orchestration.run_folder import RunFolder
from pgpo_async.orchestration.run_loop import RunLoop
from pgpo_async.orchestration.service_times import ServiceTimes
from pgpo_async.orchestration.telemetry import Telemetry

TIMES = ServiceTimes(generate_s=0.3, generate_sigma=0.6, score_s=0.05, learn_s=0.25)
GROUPS = 8
HELD_OUT = 12


def config_in(folder, *, steps, save_every=4):
    values = (
        Load(name="deaths", times=TIMES, in_flight=16)
        .config(steps=steps, output_dir=str(folder))
        .model_dump()
    )
    values["train"] |= {"groups_per_step": GROUPS, "save_every": save_every}
    values["learner"] |= {"max_restarts": 9}
    values["generator"] |= {"max_restarts": 9}
    values["scorer"] |= {"max_restarts": 9}
    values["supervision"] |= {"silence_s": 8.0, "check_every_s": 0.5, "backoff_s": 0.1}
    return RunConfig.model_validate(values)


def records_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


class Ran:
    """A run in whose course each kind of process is ended once, in turn: `blows` are (step, name, signal)."""

    def __init__(self, config, blows):
        write_times(config, TIMES)
        self.folder = RunFolder(config)
        self.said = []
        self.folder.say = self.said.append
        roles = replace(SLEEPING, learner=NanLearner)
        self.cluster = Cluster(config, self.folder.run_id, roles, journal=self.folder.journal)
        self.blows = list(blows)
        try:
            self.cluster.start(self.said.append)
            telemetry = Telemetry(config, self.folder, self.cluster, Console(quiet=True))
            self.loop = RunLoop(config, self.cluster, self.folder, telemetry, self._strike)
            self.loop.run()
            self.stats = ray.get(self.cluster.queue.stats.remote(), timeout=30)
            self.state = ray.get(self.cluster.queue.mark.remote("end"), timeout=30)
            for actor in self.cluster.generators:
                os.kill(pid_of(actor), signal.SIGKILL)
            asked = config.evaluation.model_copy(update={"num_prompts": HELD_OUT})
            config = config.model_copy(update={"evaluation": asked})
            self.accuracy = evaluate(config, self.cluster, self.loop.version)
        finally:
            self.left_behind = self.cluster.stop()
        self.records = records_of(self.folder.path)

    def _strike(self):
        if self.blows and self.loop.version >= self.blows[0][0]:
            _, name, number = self.blows.pop(0)
            os.kill(self._pid(name), number)
        return False

    def _pid(self, name):
        cluster = self.cluster
        actor = {
            "generator": lambda: cluster.generators[0],
            "scorer": lambda: cluster.scorers[0],
            "queue": lambda: cluster.queue,
            "store": lambda: cluster.store,
            "reward": lambda: cluster.rewards[0],
            "learner": lambda: next(iter(cluster.ranks().values())),
        }[name]()
        return pid_of(actor)


def pid_of(actor):
    return ray.get(actor.__ray_call__.remote(lambda _: os.getpid()), timeout=30)


BLOWS = (
    (4, "generator", signal.SIGKILL),
    (8, "scorer", signal.SIGSTOP),
    (12, "queue", signal.SIGKILL),
    (15, "store", signal.SIGKILL),
    (18, "reward", signal.SIGKILL),
    (22, "learner", signal.SIGKILL),
    (30, "queue", signal.SIGSTOP),
)
NUM_STEPS = 34


@pytest.fixture(scope="module")
def ran(tmp_path_factory, local_ray_environment):
    return Ran(config_in(tmp_path_factory.mktemp("deaths"), steps=NUM_STEPS), BLOWS)


def test_a_run_ends_well_though_each_of_its_processes_ended_once(ran):
    assert not ran.blows, "all were struck"
    assert ran.left_behind == []
    assert [record["step"] for record in ran.records] == list(range(1, NUM_STEPS + 1)), (
        "no step is missing or there twice"
    )
    assert max(ran.stats.lag_histogram) <= 2
    assert ran.stats.accounting.balanced
    assert ran.stats.accounting.trained == NUM_STEPS * GROUPS
    assert sum(ran.stats.lag_histogram.values()) == NUM_STEPS * GROUPS
    assert ran.stats.accounting.quarantined == 0
    trained = Counter(group for record in ran.records for group in record["groups"])
    assert len(trained) == NUM_STEPS * GROUPS, "no group has trained twice"
    # Every prompt below the cursor is pending, or has ended, once.
    indices = {int(group[1:]) for group in trained} | set(ran.state.pending)
    assert len(indices) == len(trained) + len(ran.state.pending)
    assert len(indices) + ran.stats.accounting.stale == ran.state.cursor


def test_who_died_is_told_and_what_followed(ran):
    for name in ("generator-0", "scorer-0", "queue", "store", "learner"):
        assert any(name in line for line in ran.said), (name, ran.said)
    assert any("is silent since" in line for line in ran.said)
    assert any("queue works again in another process" in line for line in ran.said)


def test_an_evaluation_whose_generators_die_asks_those_that_take_their_places(ran):
    assert ran.accuracy.num_prompts == HELD_OUT
    assert ran.accuracy.num_failed == 0


def test_steps_that_are_not_finite_are_kept_and_three_in_a_row_go_back_to_the_checkpoint(ran):
    assert any("not finite in 3 steps in a row (4, 5, 6;" in line for line in ran.said)
    batches = sorted((ran.folder.path / "skipped").iterdir())
    assert [home.name for home in batches] == [f"step-{step:08d}" for step in (4, 5, 6)]
    for home in batches:
        assert len([decode(path.read_bytes()) for path in home.iterdir()]) == GROUPS


def test_a_run_whose_driver_is_killed_goes_on_where_its_checkpoint_is(tmp_path, local_ray_environment):
    config = config_in(tmp_path, steps=14, save_every=5)
    write_times(config, TIMES)
    path = tmp_path / "config.yaml"
    path.write_text(dump_config(config))

    def start():
        command = [sys.executable, "-m", "pgpo_async.bench.sleeping_run", str(path), "auto"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    driver = start()
    (folder,) = wait_for(lambda: list(tmp_path.glob("bench-deaths-*")))
    wait_for(lambda: (folder / "metrics.jsonl").exists() and len(records_of(folder)) >= 8)
    driver.kill()
    driver.communicate()
    before = records_of(folder)
    driver = start()
    said, _ = driver.communicate(timeout=300)
    assert driver.returncode == 0, said
    assert "goes on after step 5" in said
    after = records_of(folder)
    assert [record["step"] for record in after] == list(range(1, 15))
    assert after[:5] == before[:5], "what the checkpoint holds stays"
    trained = Counter(group for record in after for group in record["groups"])
    assert max(trained.values()) == 1
    undone = {group for record in before[5:] for group in record["groups"]}
    summary = json.loads((folder / "summary.json").read_text())
    books = summary["accounting"]
    assert books["trained"] == 14 * GROUPS
    assert undone & set(trained), "what was rolled back trains again"
    assert len(undone - set(trained)) <= books["pending"] + books["stale"]
    assert summary["accounting_balanced"]
    assert summary["left_behind"] == []


def wait_for(condition, timeout_s=300.0):
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)
    return found
