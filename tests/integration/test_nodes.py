"""A cluster of several Ray nodes, a pool for each role: they come late, one is taken back, one is lost.

Real Ray nodes side by side on this machine, stages that sleep in the real pipeline.
"""

import json
import os
import time
from collections import defaultdict
from contextlib import suppress

import pytest
import ray
from ray._common.utils import reset_ray_address
from ray.cluster_utils import Cluster as RayCluster
from rich.console import Console

from pgpo_async.actors.process_mark import RUN_ID_VARIABLE
from pgpo_async.bench.overlap import Load
from pgpo_async.bench.sleeping_stages import SLEEPING
from pgpo_async.bench.sleeping_times import write_times
from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.cluster import Cluster
from pgpo_async.orchestration.nodes import node_of
from pgpo_async.orchestration.run_folder import RunFolder
from pgpo_async.orchestration.run_loop import RunLoop
from pgpo_async.orchestration.service_times import ServiceTimes
from pgpo_async.orchestration.telemetry import Telemetry

TIMES = ServiceTimes(generate_s=0.2, generate_sigma=0.4, score_s=0.02, learn_s=0.1)
GROUPS, MOST_STEPS = 8, 400
NOTICE_S = 60.0


class Machines:
    """A head without work; `add` brings a node to a pool."""

    def __init__(self):
        self.cluster = RayCluster(initialize_head=True, head_node_args={"num_cpus": 0, **self.sizes})
        self.nodes, self.lost = {}, set()

    sizes = {"object_store_memory": 100 << 20, "include_dashboard": False}  # noqa: RUF012

    def add(self, name, pool, cpus=2, **resources):
        # A machine of its own does not inherit from the run's driver.
        mine = os.environ.pop(RUN_ID_VARIABLE, None)
        self.nodes[name] = self.cluster.add_node(
            num_cpus=cpus, labels={"pool": pool}, resources=resources or None, **self.sizes
        )
        if mine is not None:
            os.environ[RUN_ID_VARIABLE] = mine

    def drain(self, name):
        """As a cloud that takes a spot node back: it says so a while before."""
        from ray.core.generated.autoscaler_pb2 import DrainNodeReason

        reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        gcs, until_ms = ray._raylet.GcsClient(address=self.cluster.address), (time.time() + NOTICE_S) * 1e3
        accepted, why = gcs.drain_node(self.nodes[name].node_id, reason, "taken back", int(until_ms))
        assert accepted, why

    def lose(self, name):
        self.lost.add(name)
        with suppress(AssertionError):  # Ray wants nothing left, which is a matter of moments
            self.cluster.remove_node(self.nodes[name], allow_graceful=False)

    def close(self):
        for name in self.nodes.keys() - self.lost:
            self.lose(name)
        self.cluster.remove_node(self.cluster.head_node)
        reset_ray_address()


class Ran:
    """Nodes come while the run waits for them; then a generator's is taken back, and the scorer's is lost."""

    def __init__(self, values, machines):
        values["ray"] |= {"address": machines.cluster.address, "nodes_timeout_s": 60.0}
        config = RunConfig.model_validate(values)
        write_times(config, TIMES)
        self.machines, self.said, self.stage = machines, [], "both at work"
        self.where = defaultdict(set)
        folder = RunFolder(config)
        folder.say = self.said.append
        cluster = self.cluster = Cluster(config, folder.run_id, SLEEPING, journal=folder.journal)
        try:
            cluster.start(self.hear)
            telemetry = Telemetry(config, folder, cluster, Console(quiet=True))
            self.loop = RunLoop(config, cluster, folder, telemetry, self.watch)
            self.loop.run()
            self.stats = ray.get(cluster.queue.stats.remote(), timeout=30)
        finally:
            self.left_behind = cluster.stop()
        self.records = [json.loads(line) for line in (folder.path / "metrics.jsonl").read_text().splitlines()]

    def hear(self, line):
        self.said.append(line)
        if "waiting for nodes" in line and "learners" not in self.machines.nodes:
            self.machines.add("learners", "learners", cpus=2, learner_slot=2)

    def watch(self):
        if self.stage == "both at work" and self.loop.steps_done >= 4:
            self.note_places()
            self.machines.add("more generators", "generators")
            self.machines.drain("generators")
            self.stage = "one is taken back"
        elif self.stage == "one is taken back" and sum("has left" in line for line in self.said) == 2:
            self.machines.add("more scorers", "scorers")
            self.machines.lose("scorers")
            self.stage, self.since = "one is lost", self.loop.steps_done
        elif self.stage == "one is lost" and any("in the place of" in line for line in self.said):
            self.note_places()
            return self.loop.steps_done >= self.since + 8
        return False

    def note_places(self):
        names = {node.node_id: name for name, node in self.machines.nodes.items()}
        actors = {"generator": self.cluster.generators, "scorer": self.cluster.scorers}
        actors |= {"learner": self.cluster.ranks().values(), "queue": [self.cluster.queue]}
        for role, found in actors.items():
            self.where[role] |= {names.get(node_of(actor), "head") for actor in found}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    values = (
        Load(name="nodes", times=TIMES, generators=2, in_flight=8)
        .config(steps=MOST_STEPS, output_dir=str(tmp_path_factory.mktemp("nodes")))
        .model_dump()
    )
    values["train"] |= {"groups_per_step": GROUPS, "save_every": 0}
    values["generator"] |= {"cpus": 1.0, "labels": {"pool": "generators"}}
    values["scorer"] |= {"cpus": 1.0, "labels": {"pool": "scorers"}}
    values["reward"] |= {"cpus": 1.0, "labels": {"pool": "scorers"}}
    values["learner"] |= {"cpus": 1.0, "replicas": 2, "resources": {"learner_slot": 1.0}}
    values["learner"] |= {"labels": {"pool": "learners"}}
    values["supervision"] |= {"check_every_s": 0.2}
    machines = Machines()
    try:
        machines.add("generators", "generators")
        machines.add("scorers", "scorers")
        yield Ran(values, machines)
    finally:
        machines.close()


def test_a_run_waits_for_nodes_that_are_still_coming_and_says_what_it_lacks(ran):
    waiting = [line for line in ran.said if "waiting for nodes" in line]
    assert "learner_slot" in waiting[0], ran.said


def test_each_role_has_nodes_of_its_own(ran):
    assert ran.where == {
        "generator": {"generators", "more generators"},
        "scorer": {"scorers", "more scorers"},
        "learner": {"learners"},
        "queue": {"head"},
    }


def test_generators_leave_a_node_that_is_taken_back_before_it_goes(ran):
    assert sum("is about to go" in line for line in ran.said) == 2, ran.said
    assert not any("generator" in line and "failed" in line for line in ran.said)


def test_nothing_is_lost_with_a_node_nor_trained_twice(ran):
    assert any(line.startswith("scorer-0 failed") for line in ran.said)
    books = ran.stats.accounting
    assert books.balanced
    assert (books.trained, books.quarantined) == (len(ran.records) * GROUPS, 0)
    trained = [group for record in ran.records for group in record["groups"]]
    assert len(set(trained)) == len(trained)
    assert not ran.left_behind, ran.left_behind
