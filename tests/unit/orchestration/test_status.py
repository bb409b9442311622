import io
import json
import os
import socket
import subprocess
import sys
import time

import pytest
from rich.console import Console

from pgpo_async.actors.file_locks import FileLock
from pgpo_async.actors.queue_types import GroupState, QueueStats
from pgpo_async.contracts import Accounting
from pgpo_async.metrics.run_lock import LOCK_NAME
from pgpo_async.orchestration.observation import Observation
from pgpo_async.orchestration.pulses import Reading
from pgpo_async.orchestration.status_file import as_json
from pgpo_async.orchestration.status_reader import NoRun, find_run, read_status
from pgpo_async.orchestration.status_view import render

STATS = QueueStats(
    version=3, cursor=9, depth=dict.fromkeys(GroupState, 2), returned_prompts=0, slots_available=60,
    num_slots=96, lag_bound=2, slots_charged={}, slots_released={}, num_bytes=2**21, max_bytes=2**30,
    accounting=Accounting(drawn=9, trained=4, pending=5), lag_histogram={0: 3, 1: 1},
    mixed_rollouts_trained=0, leases_lost=0, waiting={"batch": "32 scored groups (4 are there)"},
)  # fmt: skip


def reading(name, role, answer, state="answers", silent_s=0.0):
    answer = {"host": socket.gethostname(), "pid": os.getpid(), "rss_bytes": 2**20, "gpus": {}, **answer}
    return Reading(name=name, role=role, state=state, answer=answer, age_s=silent_s, silent_s=silent_s)


def status_of(*readings, **changes):
    queue = reading("queue", "queue", {"stats": STATS})
    seen = Observation(readings=(queue, *readings), doing="step 4: waits for a batch", doing_s=2.0, **changes)
    return as_json(
        seen,
        step=3,
        num_steps=24,
        max_lag=2,
        every_s=1.0,
        metrics_urls=["http://here:1/metrics"],
        busy={"learn": 0.5},
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.yaml").write_text("name: x\n")
    return tmp_path


@pytest.fixture
def locked(folder):
    lock = FileLock(folder / LOCK_NAME)
    assert lock.try_lock(shared=False)
    yield folder
    lock.close()


def write(folder, status):
    (folder / "status.json").write_text(json.dumps(status))


def shown(folder):
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(render(read_status(folder)))
    return console.export_text()


def test_a_running_job_is_shown_with_what_everybody_does(locked):
    learner = reading(
        "learner-0", "learner", {"doing": "backward pass of micro-batch 1 of 2 in step 3", "for_s": 1.5}
    )
    write(locked, status_of(learner, restarts={"scorer": 2, "learner": 0}))
    (locked / "metrics.jsonl").write_text(
        '{"step": 3, "reward": 0.5, "accuracy": null, "step_s": 2.0}\n{"step": 4, "rew'
    )
    text = shown(locked)
    for said in (
        "running", "step 3 of 24", "about 42 s to go", "step 4: waits for a batch", "learn 50%", "9 drawn",
        "replaced: 2 scorer", "backward pass of micro-batch 1 of 2", "batch waits for 32 scored groups",
        "36 of 96 slots", "lag (at most 2): 0: 3, 1: 1", "0.500",
    ):  # fmt: skip
        assert said in text, said
    assert read_status(locked).stuck == ()


def test_who_does_not_answer_is_named_with_its_last_words_and_since_when(locked):
    silent = reading("scorer-1", "scorer", {"waiting_for": "its own passes"}, "silent", 40.0)
    write(locked, status_of(silent))
    (line,) = read_status(locked).stuck
    assert line.startswith("scorer is stuck: scorer-1 has not answered since ")
    assert "(40 s)" in line
    assert line.endswith("last it was at: its own passes")


def test_a_process_that_is_stopped_or_gone_is_said_to_be(locked):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    silent = reading("scorer-1", "scorer", {"waiting_for": "its own passes", "pid": child.pid}, "silent", 9.0)
    write(locked, status_of(silent))
    assert "signal" not in read_status(locked).stuck[0]
    child.send_signal(19)
    deadline_s = time.monotonic() + 10
    while "stopped by a signal" not in read_status(locked).stuck[0]:
        assert time.monotonic() < deadline_s
    child.kill()
    child.wait()
    assert "its process is gone" in read_status(locked).stuck[0]


def test_a_driver_that_says_nothing_is_late(locked):
    write(locked, {**status_of(), "time_s": time.time() - 60})
    status = read_status(locked)
    assert status.state == "late"
    assert status.stuck[0].startswith("the driver has said nothing for 60 s")
    assert "its driver does not answer" in shown(locked)


def test_a_run_that_only_begins_and_ones_that_have_ended(locked, tmp_path_factory):
    assert read_status(locked).state == "starting"
    assert "starting" in shown(locked)
    ended = tmp_path_factory.mktemp("ended")
    (ended / "config.yaml").write_text("name: x\n")
    assert "its driver was killed" in shown(ended)
    assert "--resume" in shown(ended)
    summary = {
        "status": "completed",
        "steps": 24,
        "wall_s": 3700.0,
        "accuracy_before": 0.4,
        "accuracy_after": 0.9,
    }
    (ended / "summary.json").write_text(json.dumps(summary))
    assert "completed: 24 steps in 1 h 1 min, held-out accuracy 0.400 -> 0.900" in shown(ended)


def test_damaged_files_are_passed_over(locked):
    (locked / "status.json").write_text('{"time_s": 1')
    (locked / "metrics.jsonl").write_bytes(b"\xff\xfe\n[]\nnull\n")
    (locked / "events.jsonl").write_text("")
    assert read_status(locked).state == "starting"


def test_the_newest_run_under_way_is_found_and_nothing_is_refused(tmp_path):
    for number, name in enumerate(("old", "new")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text("name: x\n")
        os.utime(tmp_path / name / "config.yaml", (number, number))
    assert find_run(tmp_path).name == "new"
    lock = FileLock(tmp_path / "old" / LOCK_NAME)
    lock.try_lock(shared=False)
    assert find_run(tmp_path).name == "old", "under way"
    lock.close()
    assert find_run(tmp_path / "new") == tmp_path / "new"
    with pytest.raises(NoRun, match="must be a run folder"):
        find_run(tmp_path / "nothing")


def test_a_status_imports_nothing_that_takes_its_time():
    program = """
import sys
from pgpo_async.cli import app
from pgpo_async.orchestration.status_reader import read_status
from pgpo_async.orchestration.status_view import render
heavy = ("ray", "torch", "pyarrow", "numpy", "pydantic", "psutil", "vllm")
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
