"""Two generators load weights in turns, one that dies meanwhile holds nobody up; `mode: sync` takes turns.

Stages that sleep in the real pipeline: with real engines two cores would measure themselves.
"""

import itertools
import json
import os
import signal

import pytest
import ray
from rich.console import Console

from pgpo_async.bench.overlap import Load
from pgpo_async.bench.sleeping_stages import SLEEPING, SleepingGenerator
from pgpo_async.bench.sleeping_times import write_times
from pgpo_async.orchestration.cluster import Cluster
from pgpo_async.orchestration.roles import Roles
from pgpo_async.orchestration.run_folder import RunFolder
from pgpo_async.orchestration.run_loop import RunLoop
from pgpo_async.orchestration.service_times import ServiceTimes
from pgpo_async.orchestration.telemetry import Telemetry
from pgpo_async.orchestration.tracing import COLLECT_EVERY

# Generation lasts two steps, so each generator has some thirty groups in flight; either alone is enough.
TIMES = ServiceTimes(generate_s=1.0, generate_sigma=0.6, score_s=0.05, learn_s=0.5, load_s=0.15)
IN_FLIGHT = 80
NUM_STEPS = 200
WATCHED_STEPS = COLLECT_EVERY
DIES_AT = 24


class DyingGenerator(SleepingGenerator):
    """The second one is killed, like a process, half-way through its update to version DIES_AT."""

    def __init__(self, name, config, run_id, **pipes):
        super().__init__(name, config, run_id, **pipes)
        if name == "generator-1":
            load = self._engine.load_weights

            async def load_and_die(folder, version):
                if version >= DIES_AT:
                    os.kill(os.getpid(), signal.SIGKILL)
                return await load(folder, version)

            self._engine.load_weights = load_and_die


class Pipeline:
    """One set of actors for all runs: starting them takes longer than a run."""

    def __init__(self):
        self.cluster = None

    def run(self, config, times, should_stop=lambda *_: False):
        write_times(config, times)
        run_folder = RunFolder(config)
        said = []
        if self.cluster is None:
            self.cluster = Cluster(config, run_folder.run_id, ROLES)
            self.cluster.start(said.append)
        else:
            self.cluster.renew(config, run_folder.run_id, said.append)
        return Ran(config, self.cluster, run_folder, said, should_stop)


class Ran:
    """A run that has ended: step records, spans by (actor, what), the queue's figures, what was said."""

    def __init__(self, config, cluster, run_folder, said, should_stop):
        self.said = said
        self.turn_s = config.weights.turn_s
        restarts = sum(cluster.restarts().values())
        telemetry = Telemetry(config, run_folder, cluster, Console(quiet=True))
        loop = RunLoop(config, cluster, run_folder, telemetry, lambda: should_stop(said, loop))
        loop.run()
        self.stats = ray.get(cluster.queue.stats.remote(), timeout=30)
        self.served = ray.get(cluster.store.served.remote(), timeout=30)
        self.restarts = sum(cluster.restarts().values()) - restarts
        telemetry.tracing.collect(cluster)
        telemetry.tracing.close()
        lines = (run_folder.path / "metrics.jsonl").read_text().splitlines()
        self.records = [json.loads(line) for line in lines]
        self.spans = spans_by_actor(json.loads(run_folder.timeline.read_text()))


ROLES = Roles(generator=DyingGenerator, scorer=SLEEPING.scorer, learner=SLEEPING.learner)


@pytest.fixture(scope="module")
def pipeline(local_ray_environment):
    pipeline = Pipeline()
    try:
        yield pipeline
    finally:
        if pipeline.cluster is not None:
            left_behind = pipeline.cluster.stop()
    assert left_behind == []


@pytest.fixture(scope="module")
def ran(tmp_path_factory, pipeline):
    load = Load(name="rolling", times=TIMES, in_flight=IN_FLIGHT, max_lag=3)
    config = load.config(steps=NUM_STEPS, output_dir=str(tmp_path_factory.mktemp("rolling")))
    return pipeline.run(config.model_copy(update={"trace": True}), TIMES, enough)


def enough(said, loop):
    """A few steps after the dead generator's successor has begun to work."""
    began = [line for line in said if "works in the place" in line]
    if began and not hasattr(loop, "ends_at"):
        loop.ends_at = loop.steps_done + 8
    return loop.steps_done >= getattr(loop, "ends_at", NUM_STEPS)


def spans_by_actor(events):
    actors = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    spans = {}
    for event in events:
        if event["ph"] == "X":
            times = (event["ts"], event["ts"] + event["dur"])
            spans.setdefault((actors[event["pid"]], event["name"]), []).append(times)
    return spans


def overlap(first, second):
    return max(first[0], second[0]) < min(first[1], second[1])


def test_one_of_two_generators_is_always_at_work_while_twenty_versions_are_loaded(ran):
    spans = ran.spans
    # Before the first update everything may be generated that can be of use.
    since, until = (ran.records[step]["time_s"] * 1e6 for step in (1, WATCHED_STEPS - 1))
    pauses = [
        (span, {"generator-0": "generator-1", "generator-1": "generator-0"}[name])
        for (name, what), times in spans.items()
        if what == "update pause"
        for span in times
        if since < span[0] and span[1] < until
    ]
    assert len(pauses) >= 20
    in_order = sorted(span for span, _ in pauses)
    assert not any(overlap(a, b) for a, b in itertools.pairwise(in_order)), "one after another"
    for pause, other in pauses:
        assert any(overlap(pause, span) for span in spans[other, "generate"]), "the other one goes on"


def test_the_learner_does_not_feel_the_death_of_a_generator_in_its_update(ran):
    records, stats = ran.records, ran.stats
    assert ran.spans["generator-1.1", "update pause"], "its successor follows the weights, too"
    assert ran.restarts == 1
    assert any("generator-1 failed" in line and "restart 1 of at most 3" in line for line in ran.said)
    assert any("generator-1.1 works in the place" in line for line in ran.said)
    assert ran.served["generator-1.1"] > DIES_AT
    assert "generator-1" not in ran.served
    step_s = [record["step_s"] for record in records]
    # One generator is enough for this load; a learner that waited for the dead one would wait its turn out.
    assert max(step_s[DIES_AT - 1 : DIES_AT + 3]) < ran.turn_s / 2
    assert stats.accounting.balanced
    assert stats.accounting.trained == len(records) * 32
    assert len(records) < NUM_STEPS
    assert stats.accounting.quarantined == 0
    assert max(stats.lag_histogram) <= 3


def test_what_the_dead_generator_held_is_generated_by_others(ran):
    assert ran.stats.leases_lost > 0
    assert ran.stats.accounting.drawn == ran.stats.cursor


@pytest.mark.usefixtures("ran")  # the death comes first, on fresh actors
def test_in_turns_no_stage_works_while_another_does(tmp_path, pipeline):
    times = ServiceTimes(
        generate_s=0.2, generate_sigma=0.8, score_s=0.1, learn_s=0.2, load_s=0.05, filtered_share=0.2
    )
    config = Load(name="turns", times=times).config(steps=6, output_dir=str(tmp_path), sync=True)
    assert config.train.max_lag == 2, "in turns it counts as 0"
    ran = pipeline.run(config.model_copy(update={"trace": True}), times)
    assert set(ran.stats.lag_histogram) == {0}
    assert ran.stats.accounting.trained == 6 * 32
    assert ran.stats.accounting.filtered > 0
    stages = [
        [span for (_, name), times in ran.spans.items() if name == what for span in times]
        for what in ("generate", "score", "step")
    ]
    assert all(stages)
    for one, other in itertools.combinations(stages, 2):
        assert not any(overlap(a, b) for a in one for b in other)
