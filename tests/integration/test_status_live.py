"""`pgpo-async status` of a real job whose learner, and then whose driver, is stopped."""

import json
import signal
import subprocess
import sys
import time

import psutil
import pytest

from pgpo_async.bench.chaos_world import Driver, at_work, count_steps
from pgpo_async.bench.overlap import Load
from pgpo_async.bench.sleeping_times import write_times
from pgpo_async.orchestration.service_times import ServiceTimes

WAIT_S = 120.0


def until(condition, what):
    deadline_s = time.monotonic() + WAIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline_s, f"waited {WAIT_S:.0f} s for {what}"
        time.sleep(0.3)
    return found


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    home = tmp_path_factory.mktemp("status")
    times = ServiceTimes(generate_s=0.4, score_s=0.1, learn_s=0.3)
    config = Load(name="status", times=times).config(steps=10_000, output_dir=str(home / "runs"))
    config = config.model_copy(
        update={"metrics": config.metrics.model_copy(update={"port": 0, "every_s": 0.5})}
    )
    write_times(config, times)
    with Driver.sleeping(config, home) as driver:
        until(lambda: count_steps(home / "runs", "metrics") >= 3, "three steps")
        yield driver, home / "runs"
        psutil.Process(driver.pid).send_signal(signal.SIGINT)
        until(lambda: driver.code is not None, "the run's end")


def status(runs, *options):
    began_s = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "pgpo_async", "status", str(runs), *options],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    print(f"status {' '.join(options)}: {time.perf_counter() - began_s:.2f} s")
    return done.stdout


def as_json(runs):
    return json.loads(status(runs, "--json"))


def test_a_running_job_shows_its_actors_its_queue_and_its_books(job):
    _, runs = job
    seen = as_json(runs)
    assert seen["state"] == "running"
    assert not seen["stuck"]
    assert {actor["role"] for actor in seen["actors"]} == {
        "queue", "store", "generator", "scorer", "learner", "reward",
    }  # fmt: skip
    assert seen["queue"]["balanced"]
    assert seen["last_step"]["step"] >= 3
    text = status(runs)
    for said in ("generator-1", "scorer-0", "learner-0", "prompts in flight", "drawn", "lag (at most 2)"):
        assert said in text


def test_a_learner_that_is_stopped_is_named_as_stuck_with_the_time_and_found_well_again(job):
    _, runs = job
    (learner,) = at_work("learner")
    stopped_s = time.time()
    learner.send_signal(signal.SIGSTOP)
    try:
        seen = until(lambda: (s := as_json(runs))["stuck"] and s, "the learner to be called stuck")
        assert [stuck["name"] for stuck in seen["stuck"]] == ["learner-0"]
        silent_since_s = seen["time_s"] - seen["stuck"][0]["silent_for_s"]
        assert abs(silent_since_s - stopped_s) < 3.0, "since when"
        began_s = time.perf_counter()
        text = status(runs)
        assert time.perf_counter() - began_s < 5.0, "it waits for nobody"
        assert "learner is stuck: learner-0 has not answered since" in text
        assert "stopped by a signal" in text
        assert "waits for the learner" in text, "what the driver is at"
    finally:
        learner.send_signal(signal.SIGCONT)
    until(lambda: not as_json(runs)["stuck"], "the learner to be well again")


def test_a_driver_that_is_stopped_is_said_to_be_silent(job):
    driver, runs = job
    process = psutil.Process(driver.pid)
    process.send_signal(signal.SIGSTOP)
    try:
        until(lambda: as_json(runs)["state"] == "late", "the driver to be called late")
        text = status(runs)
        assert "the driver has said nothing for" in text
        assert "stopped by a signal" in text
    finally:
        process.send_signal(signal.SIGCONT)
    until(lambda: as_json(runs)["state"] == "running", "the driver to go on")
