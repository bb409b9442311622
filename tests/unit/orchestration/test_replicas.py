"""Actors replaced one by one: budgets, pauses, silence, leaving. The test plays Ray."""

import time
from types import SimpleNamespace

import pytest
from ray.exceptions import ActorDiedError

from pgpo_async.config.pipeline import LoopRoleConfig, SupervisionConfig
from pgpo_async.contracts import ConfigError, StageFailed
from pgpo_async.orchestration import replicas as module
from pgpo_async.orchestration.beats import Beat
from pgpo_async.orchestration.replicas import Replicas


class Call:
    def __init__(self):
        self.outcome = None

    def end(self, error=None):
        self.outcome = error or "done"


class Actor:
    """Each method returns a call; the last of each kind is kept."""

    def __init__(self, name):
        self.name = name
        self.killed = False
        self.calls = {}

    def __getattr__(self, method):
        def remote():
            self.calls[method] = Call()
            return self.calls[method]

        return SimpleNamespace(remote=remote)


class FakeRay:
    def wait(self, calls, **_):
        return [call for call in calls if call.outcome is not None], []

    def get(self, call):
        if isinstance(call.outcome, Exception):
            raise call.outcome
        return call.outcome

    def kill(self, actor, **_):
        actor.killed = True
        if "run" in actor.calls:
            actor.calls["run"].end(RuntimeError("killed"))
        elif "start" in actor.calls:
            actor.calls["start"].end(RuntimeError("killed"))


@pytest.fixture
def make(monkeypatch):
    monkeypatch.setattr(module, "ray", FakeRay())

    def make(*, running=True, start_timeout_s=600.0, supervision=None, **role):
        made, forgotten, said = [], [], []

        def make_actor(name):
            made.append(Actor(name))
            return made[-1]

        replicas = Replicas(
            "generator",
            LoopRoleConfig(**role),
            SupervisionConfig(**{"backoff_s": 0.0, **(supervision or {})}),
            make_actor,
            forget=forgotten.append,
            start_timeout_s=start_timeout_s,
        )
        if running:
            replicas.run()
        return SimpleNamespace(
            replicas=replicas,
            made=made,
            forgotten=forgotten,
            said=said,
            attend=lambda: replicas.attend(said.append),
            names=lambda: [actor.name for actor in replicas.actors],
            died=ActorDiedError,
        )

    return make


def die(bench, actor=-1):
    bench.made[actor].calls["run"].end(RuntimeError("the engine broke\nat length"))
    bench.attend()


def test_one_that_dies_is_forgotten_and_another_works_in_its_place(make):
    bench = make(replicas=2)
    die(bench, 0)
    assert bench.forgotten == ["generator-0"]
    assert bench.names() == ["generator-0.1", "generator-1"]
    assert (
        "generator-0 failed: the engine broke; starting generator-0.1 (restart 1 of at most 3)" in bench.said
    )
    bench.made[-1].calls["start"].end()
    bench.attend()
    assert "run" in bench.made[-1].calls
    assert bench.replicas.num_restarts == 1


def test_the_run_ends_with_the_reason_once_the_last_one_has_used_up_its_restarts(make):
    bench = make(replicas=1, max_restarts=2)
    for _ in range(2):
        die(bench)
        bench.made[-1].calls["start"].end()
        bench.attend()
    with pytest.raises(
        StageFailed, match=r"generator-0\.2 failed after 2 restarts: the engine broke"
    ) as failed:
        die(bench)
    assert failed.value.role == "generator"


def test_the_run_goes_on_without_one_that_cannot_be_replaced_as_long_as_there_are_enough(make):
    bench = make(replicas=3, max_restarts=0, min_replicas=2)
    die(bench, 0)
    assert bench.names() == ["generator-1", "generator-2"]
    with pytest.raises(StageFailed, match="min_replicas is 2"):
        die(bench, 1)


def test_only_restarts_within_the_window_count(make):
    bench = make(replicas=1, max_restarts=1, supervision={"restart_window_s": 0.05})
    for _ in range(3):
        die(bench)
        bench.made[-1].calls["start"].end()
        bench.attend()
        time.sleep(0.06)
    assert bench.names() == ["generator-0.3"]


def test_a_second_restart_waits_and_a_third_twice_as_long(make):
    bench = make(replicas=1, supervision={"backoff_s": 0.1})
    pauses = []
    for _ in range(3):
        die(bench)
        number, began = len(bench.made), time.monotonic()
        while bench.names() == []:
            time.sleep(0.005)
            bench.attend()
        pauses.append(time.monotonic() - began if len(bench.made) > number else 0.0)
        bench.made[-1].calls["start"].end()
        bench.attend()
    assert pauses[0] == 0.0
    assert 0.1 <= pauses[1] < 0.2 <= pauses[2] < 0.5


def test_what_a_new_process_cannot_cure_ends_the_run_at_once(make):
    bench = make(replicas=2)
    bench.made[0].calls["run"].end(ConfigError("model.path: is no model"))
    with pytest.raises(StageFailed, match=r"model\.path"):
        bench.attend()


def test_one_that_is_silent_is_killed_and_its_silence_is_the_reason(make):
    bench = make(replicas=1, supervision={"silence_s": 0.02})
    time.sleep(0.03)
    bench.replicas.check({"generator-0": Beat(0.01, "the engine", 0.0)}, 99.0, bench.said.append)
    assert not bench.made[0].killed
    bench.replicas.check({"generator-0": Beat(7.0, "the engine", 0.0)}, 99.0, bench.said.append)
    assert bench.made[0].killed
    bench.attend()
    assert any(
        "generator-0 failed: is silent since 7 s, when it was waiting for the engine" in line
        for line in bench.said
    )


def test_who_has_not_been_heard_by_a_queue_that_has_just_begun_is_not_silent(make):
    bench = make(replicas=1, supervision={"silence_s": 0.02})
    time.sleep(0.03)
    bench.replicas.check({}, 0.01, bench.said.append)
    assert not bench.made[0].killed
    bench.replicas.check({}, 0.03, bench.said.append)
    assert bench.made[0].killed


def test_one_that_lives_and_finishes_nothing_is_killed_too(make):
    bench = make(replicas=1, supervision={"stall_s": 60.0})
    bench.replicas.check({"generator-0": Beat(0.1, "the engine", 61.0)}, 99.0, bench.said.append)
    assert bench.made[0].killed


def test_a_replacement_that_does_not_start_in_time_is_replaced(make):
    bench = make(replicas=1, start_timeout_s=0.02)
    die(bench)
    time.sleep(0.03)
    bench.attend()
    bench.attend()
    assert bench.made[1].killed
    assert bench.names() == ["generator-0.2"]


def test_more_are_started_and_the_newest_leave_after_ending_their_work(make):
    bench = make(replicas=1)
    bench.replicas.resize(3)
    assert bench.replicas.count == 3
    for actor in bench.made[1:]:
        actor.calls["start"].end()
    bench.attend()
    assert bench.names() == ["generator-0", "generator-1", "generator-2"]
    bench.replicas.resize(1)
    assert bench.replicas.count == 1
    assert [sorted(actor.calls) for actor in bench.made[1:]] == [["leave", "run", "start"]] * 2
    assert len(bench.names()) == 3, "they still work"
    for actor in bench.made[1:]:
        actor.calls["run"].end()
    bench.attend()
    assert bench.names() == ["generator-0"]
    assert sorted(bench.forgotten) == ["generator-1", "generator-2"]


def test_one_that_dies_while_leaving_is_not_replaced(make):
    bench = make(replicas=2)
    bench.replicas.resize(1)
    die(bench, 1)
    assert bench.names() == ["generator-0"]
    assert bench.replicas.num_restarts == 0


def test_who_is_on_a_node_that_goes_leaves_once_and_another_comes(make):
    bench = make(replicas=2)
    going = bench.made[0]
    for _ in range(3):  # the node is still there at the next looks
        bench.replicas.vacate(lambda actor: actor is going, bench.said.append)
    assert "leave" in going.calls
    assert not going.killed, "it ends what it is at"
    assert bench.names() == ["generator-0", "generator-1", "generator-2"]
    assert bench.replicas.count == 2
    assert bench.said == ["the node of generator-0 is about to go: starting generator-2, it leaves"]


def test_one_found_dead_while_no_loop_runs_is_replaced_and_rests_like_the_others(make):
    bench = make(replicas=2)
    bench.replicas.stop()
    assert list(bench.replicas.idle) == ["generator-0", "generator-1"]
    bench.replicas.found_dead(bench.made[0], ActorDiedError(), bench.said.append)
    assert list(bench.replicas.idle) == ["generator-1"]
    bench.made[-1].calls["start"].end()
    bench.attend()
    assert list(bench.replicas.idle) == ["generator-0.1", "generator-1"]
    assert "run" not in bench.made[-1].calls
    assert bench.forgotten == ["generator-0"]


@pytest.fixture
def starting(make):
    """Two that have been asked to start and do not work yet."""
    bench = make(running=False, replicas=2)
    bench.replicas.start()
    return bench


def test_one_that_is_killed_while_all_start_is_replaced_and_works_when_the_others_do(starting):
    starting.made[0].calls["start"].end()
    starting.made[1].calls["start"].end(starting.died())
    starting.attend()
    assert starting.names() == ["generator-0", "generator-1.1"]
    assert not starting.replicas.ready
    starting.made[2].calls["start"].end()
    starting.attend()
    assert starting.replicas.ready
    assert "run" not in starting.made[2].calls
    starting.replicas.run()
    assert "run" in starting.made[2].calls


def test_one_that_cannot_start_for_a_reason_of_its_own_ends_the_start_at_once(starting):
    starting.made[0].calls["start"].end(RuntimeError("CUDA out of memory"))
    with pytest.raises(StageFailed, match="generator-0 failed to start: CUDA out of memory"):
        starting.attend()


def test_one_that_cannot_start_once_all_have_worked_costs_its_budget_and_not_the_run(make):
    bench = make(replicas=2, max_restarts=1)
    die(bench, 0)
    bench.replicas.stop()
    bench.made[-1].calls["start"].end(RuntimeError("CUDA out of memory"))
    bench.attend()
    assert list(bench.replicas.idle) == ["generator-1"]
    assert "the run goes on with 1 generators" in bench.said[-1]


def test_one_that_still_starts_when_the_others_run_joins_them(starting):
    starting.made[0].calls["start"].end()
    starting.attend()
    starting.replicas.run()
    assert "run" in starting.made[0].calls
    starting.made[1].calls["start"].end()
    starting.attend()
    assert "run" in starting.made[1].calls
