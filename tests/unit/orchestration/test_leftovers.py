"""A run's processes and shared memory are found and removed; those of others are not touched."""

import os
import signal
import subprocess
import sys
import uuid

import psutil

from pgpo_async.actors.staging import NodeStaging
from pgpo_async.orchestration.leftovers import clean_before, clean_up, note_segments

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


def test_an_orphan_of_this_run_is_ended_and_one_of_another_run_lives(tmp_path):
    variable, run_id = "PGPO_ASYNC_TEST_RUN", uuid.uuid4().hex
    # A process whose parent has died: what vLLM's engine core is when its actor is killed.
    spawn = (
        "import subprocess, sys; "
        f"print(subprocess.Popen({SLEEP!r}, start_new_session=True, stdout=-3, stderr=-3).pid)"
    )
    orphan = int(
        subprocess.run(
            [sys.executable, "-c", spawn],
            env={**os.environ, variable: run_id},
            capture_output=True,
            check=True,
        ).stdout
    )
    other = subprocess.Popen(SLEEP, env={**os.environ, variable: "theirs"})
    try:
        removed = clean_up(run_id, variable, grace_s=0.2)
        assert len(removed) == 1
        assert f"process {orphan} " in removed[0]
        assert not psutil.pid_exists(orphan) or psutil.Process(orphan).status() == psutil.STATUS_ZOMBIE
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


CRASHING_RUN = """
import sys
from pathlib import Path
from pgpo_async.actors.staging import NodeStaging

staging = NodeStaging("crashed", Path(sys.argv[1]))
print(flush=True)
sys.stdin.readline()
"""


def test_what_a_crashed_run_noted_is_removed_by_the_next_and_a_live_runs_stays(tmp_path):
    def note(name, segment):
        (tmp_path / segment).write_bytes(b"x")
        (tmp_path / f"pgpo_async-{name}" / ".segments").write_text(f"{segment}\n")

    run = subprocess.Popen(
        [sys.executable, "-c", CRASHING_RUN, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    run.stdout.readline()
    note("crashed", "psm_crashed")
    with NodeStaging("live", tmp_path):
        note("live", "psm_live")
        assert clean_before(tmp_path) == []
        run.send_signal(signal.SIGKILL)
        run.wait()
        removed = {path.name for path in clean_before(tmp_path)}
        assert removed == {"pgpo_async-crashed", "psm_crashed"}
        assert (tmp_path / "psm_live").exists()


def test_segments_are_those_that_the_runs_processes_have_mapped():
    variable, run_id = "PGPO_ASYNC_TEST_RUN", uuid.uuid4().hex
    make = (
        "from multiprocessing.shared_memory import SharedMemory; import sys; "
        "s = SharedMemory(create=True, size=64); print(s._name.lstrip('/'), flush=True); sys.stdin.readline()"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", make],
        env={**os.environ, variable: run_id},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    name = run.stdout.readline().strip()
    staging = NodeStaging(run_id)
    segments = note_segments(run_id, variable)
    assert [segment.name for segment in segments] == [name]
    staging.close()
    clean_up(run_id, variable, segments=segments, grace_s=0.1)
    run.wait(timeout=10)
    assert not segments[0].exists()
    assert not staging.folder.exists()
