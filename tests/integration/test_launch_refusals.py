"""`pgpo-async launch` as a user starts it: what it refuses, and how it is interrupted while starting.

Real processes, real exit codes. None gets as far as a vLLM engine that is up.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

LAUNCH = [sys.executable, "-m", "pgpo_async", "launch", "configs/local.yaml"]


def launch(tmp_path, *overrides):
    return subprocess.run(
        [*LAUNCH, f"output_dir={tmp_path / 'runs'}", *overrides], capture_output=True, text=True, timeout=200
    )


def test_missing_model_data_and_shaper_are_refused_all_at_once_with_exit_code_2(tmp_path):
    done = launch(
        tmp_path,
        "data.source=missing.parquet",
        "evaluation.source=missing.jsonl",
        "model.path=/no/such/model",
        "algorithm.shaper.name=no_such_module:Own",
    )
    assert done.returncode == 2, done.stderr
    lines = done.stderr.splitlines()
    for word in ("model.path", ".parquet", ".jsonl", "Own"):
        assert any(word in line for line in lines), word
    assert "Traceback" not in done.stderr + done.stdout
    assert not (tmp_path / "runs").exists(), "nothing is written before the inputs are known to exist"


def test_more_gpus_than_exist_are_refused_with_how_many_there_are(tmp_path):
    done = launch(tmp_path, "generator.gpus=4")
    assert done.returncode == 2, done.stderr
    assert "the run asks for 4 GPUs (generator 1 x 4), but there are 0" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_a_run_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "runs").write_text("a file where the folder should be")
    done = launch(tmp_path)
    assert done.returncode == 2, done.stderr
    assert "output_dir: cannot write the run folder" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_while_starting_ends_the_run_and_leaves_nothing(tmp_path):
    run = subprocess.Popen(
        [*LAUNCH, f"output_dir={tmp_path / 'runs'}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert run.stdout is not None
        line = ""
        while "starting:" not in line:
            line = run.stdout.readline()
            assert line, "the run ended before it began"
        time.sleep(5)  # actors are on their way up
        run.send_signal(signal.SIGINT)
        out, _ = run.communicate(timeout=120)
    finally:
        run.kill()
    assert run.returncode == 130, out
    assert "Traceback" not in out
    (folder,) = (tmp_path / "runs").iterdir()
    assert '"status": "interrupted"' in (folder / "summary.json").read_text()
    assert not list(Path("/dev/shm").glob(f"*{folder.name}*"))
    left = [p.pid for p in psutil.process_iter() if _environment(p).get("PGPO_ASYNC_RUN_ID") == folder.name]
    assert left == []


def _environment(process):
    try:
        return process.environ() if process.pid != os.getpid() else {}
    except psutil.Error:
        return {}
