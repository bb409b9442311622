"""Held-out prompts are asked while training goes on: each evaluation of one version, whoever dies in it.

A whole run around stages that sleep; evaluators are of the same class. Each publishes what it did into a
file, since they are processes of their own.
"""

import asyncio
import json
import os
import signal
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from rich.console import Console

from pgpo_async.bench.overlap import Load
from pgpo_async.bench.sleeping_learner import SleepingLearner, SleepingTrainer
from pgpo_async.bench.sleeping_stages import SLEEPING, SleepingGenerator
from pgpo_async.bench.sleeping_times import write_times
from pgpo_async.config.inputs import EvaluationConfig
from pgpo_async.orchestration.roles import Roles
from pgpo_async.orchestration.run import Run
from pgpo_async.orchestration.run_folder import RunFolder
from pgpo_async.orchestration.service_times import ServiceTimes

TIMES = ServiceTimes(generate_s=0.3, generate_sigma=0.3, score_s=0.05, learn_s=0.3)
NUM_STEPS = 40
ASKED = EvaluationConfig(num_prompts=48, samples_per_prompt=2, every=2, replicas=2)
IN_FLIGHT = 16
"""Of 48 prompts, so that there are some left for who comes later."""
DIES_AT = 4
"""Samples of the second evaluator in its second evaluation."""
SUCCESSOR_S = 120.0
PAUSES = {4: "evaluator-0", NUM_STEPS - 12: "evaluator-1.1"}
"""Before these steps the learner waits until that evaluator has answered: engines start in their own time."""


def has_answered(asked, name):
    return asked.exists() and f'"{name}"' in asked.read_text()


class PacedTrainer(SleepingTrainer):
    """Leaves the evaluators time enough on a busy machine, too."""

    def _begin(self, config, publish, spans):
        super()._begin(config, publish, spans)
        self._asked, self._num_steps = Path(config.output_dir) / "asked.jsonl", 0

    def train_step(self, groups, problem="no groups"):
        self._num_steps += 1
        until_s = time.monotonic() + SUCCESSOR_S
        if name := PAUSES.get(self._num_steps):
            while not has_answered(self._asked, name):
                assert time.monotonic() < until_s, f"{name} answers nothing"
                time.sleep(0.1)
        return super().train_step(groups, problem)


class PacedLearner(SleepingLearner):
    def _make_trainer(self, publish):
        return PacedTrainer(self._config, self._rank, publish, self._activity, self._spans)


class NotedGenerator(SleepingGenerator):
    """Notes each sample's versions where it is an evaluator.

    The second of them is killed in its second evaluation; the first waits then until the second's successor
    has answered, so that the evaluation is not over before there is one.
    """

    def __init__(self, name, config, run_id, **pipes):
        super().__init__(name, config, run_id, **pipes)
        if not name.startswith("evaluator"):
            return
        home = Path(config.output_dir)
        asked, died = home / "asked.jsonl", home / "died"
        sample, begun = self._engine.sample, Counter()

        async def noted(*prompt, **how):
            begun[self._engine.version] += 1
            if name == "evaluator-1" and len(begun) == 2 and begun[self._engine.version] == DIES_AT:
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            sampled = await sample(*prompt, **how)
            until_s = time.monotonic() + SUCCESSOR_S
            while name == "evaluator-0" and died.exists() and not has_answered(asked, "evaluator-1.1"):
                assert time.monotonic() < until_s, "no successor"
                await asyncio.sleep(0.1)
            versions = sorted({s.version for r in sampled.rollouts for s in r.version_spans})
            told = {"name": name, "versions": versions, "prompt": how["prompt_id"], "time_s": time.time()}
            with asked.open("a") as file:
                file.write(json.dumps(told) + "\n")
            return sampled

        self._engine.sample = noted


class Ran:
    def __init__(self, home):
        plain = Load(name="watched", times=TIMES, in_flight=IN_FLIGHT).config(
            steps=NUM_STEPS, output_dir=str(home)
        )
        config = plain.model_copy(update={"evaluation": ASKED})
        write_times(config, TIMES)
        folder = RunFolder(config)
        roles = Roles(generator=NotedGenerator, scorer=SLEEPING.scorer, learner=PacedLearner)
        self.code = Run(config, folder, Console(quiet=True), roles=roles).run()
        self.evaluations = self.lines(folder.path / "evaluations.jsonl")
        self.steps = self.lines(folder.path / "metrics.jsonl")
        self.events = [line["event"] for line in self.lines(folder.path / "events.jsonl")]
        self.asked = self.lines(home / "asked.jsonl")
        self.died_s = (home / "died").stat().st_mtime
        self.summary = json.loads((folder.path / "summary.json").read_text())

    @staticmethod
    def lines(path):
        return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def ran(tmp_path_factory, local_ray_environment):
    return Ran(tmp_path_factory.mktemp("evaluation"))


def test_the_run_trains_all_its_steps_and_leaves_nothing_behind(ran):
    assert (ran.code, ran.summary["status"], ran.summary["steps"]) == (0, "completed", NUM_STEPS)
    assert ran.summary["left_behind"] == []
    assert len(ran.steps) == NUM_STEPS


def test_each_evaluation_is_of_one_version_that_all_its_answers_came_from(ran):
    # Weights change in answers of an evaluation that was given up when an engine died, and only in those.
    of_version = defaultdict(set)
    for line in ran.asked:
        assert len(line["versions"]) == 1 or line["time_s"] > ran.died_s
        if len(line["versions"]) == 1:
            of_version[line["versions"][0]].add(line["prompt"])
    assert len(ran.evaluations) >= 2
    for line in ran.evaluations:
        assert line["num_prompts"] == ASKED.num_prompts
        assert len(of_version[line["version"]]) == ASKED.num_prompts
        assert line["step"] == line["version"], "this run went back to no checkpoint"
        assert 0.0 < line["accuracy"] < 1.0
    versions = [line["version"] for line in ran.evaluations]
    assert versions == sorted(set(versions)), "none twice"


def test_training_went_on_while_they_were_asked(ran):
    # Between an evaluator's death and its successor's first answer an evaluation was under way all the time.
    successor_s = min(line["time_s"] for line in ran.asked if line["name"] == "evaluator-1.1")
    meanwhile = [step["step"] for step in ran.steps if ran.died_s < step["time_s"] < successor_s]
    assert len(meanwhile) >= 2


def test_what_is_due_too_early_is_passed_over_in_words_and_the_last_weights_are_evaluated(ran):
    assert any("is passed over: the one before is not done" in event for event in ran.events)
    assert ran.evaluations[-1]["version"] == NUM_STEPS


def test_an_engine_that_dies_in_an_evaluation_is_replaced_and_no_step_is_lost(ran):
    assert any(event.startswith("evaluator-1 failed") for event in ran.events), ran.events
    assert "evaluator-1.1" in {line["name"] for line in ran.asked}
    assert not any("learner" in event and "again" in event for event in ran.events)
