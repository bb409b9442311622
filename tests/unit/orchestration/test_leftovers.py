"""A run's processes and shared memory are found and removed; those of others are not touched."""

import os
import subprocess
import sys
import uuid

import psutil

from pgpo_async.orchestration.leftovers import clean_up

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
