"""Which run `--resume` goes on with, what it refuses, and what a resumed run folder keeps."""

import json
import os

import pytest

from pgpo_async.config import load_config
from pgpo_async.contracts import ConfigError
from pgpo_async.metrics.run_lock import is_locked
from pgpo_async.orchestration.resume import find_resume
from pgpo_async.orchestration.run_folder import RunFolder


def config_in(folder, *overrides):
    return load_config("configs/local.yaml", [f"output_dir={folder}", *overrides])


def ended(config, status=None, existing=None):
    """A run folder whose driver is gone."""
    folder = RunFolder(config, existing=existing)
    if status is not None:
        folder.write_summary({"status": status})
    folder.close()
    folder.unlock()
    return folder.path


def test_auto_takes_the_newest_run_of_that_name_that_did_not_complete(tmp_path):
    config = config_in(tmp_path)
    assert find_resume(config, "auto") is None
    older, newer = ended(config, "failed"), ended(config)
    os.utime(older, (1, 1))
    completed = ended(config, "completed")
    other = ended(config_in(tmp_path, "name=another"))
    found = find_resume(config, "auto")
    assert found.folder == newer
    assert found.folder not in (completed, other)
    assert find_resume(config, "never") is None


def test_auto_passes_over_a_run_that_still_runs_or_that_began_with_something_else(tmp_path):
    config = config_in(tmp_path)
    ended(config_in(tmp_path, "data.seed=7"))
    running = RunFolder(config)
    assert is_locked(running.path)
    assert find_resume(config, "auto") is None
    running.unlock()
    assert find_resume(config, "auto").folder == running.path


def test_a_path_is_a_run_folder_or_one_of_its_checkpoints(tmp_path):
    config = config_in(tmp_path)
    run = ended(config)
    assert find_resume(config, str(run)).tag is None
    (run / "checkpoints" / "step-00000008").mkdir(parents=True)
    point = find_resume(config, str(run / "checkpoints" / "step-00000008"))
    assert (point.folder, point.tag) == (run, "step-00000008")


def test_what_cannot_be_gone_on_with_is_refused_with_the_reason(tmp_path):
    config = config_in(tmp_path)
    run = ended(config)
    with pytest.raises(ConfigError, match="did you mean 'auto'"):
        find_resume(config, "atuo")
    with pytest.raises(ConfigError, match=f"did you mean '{run}'"):
        find_resume(config, str(run)[:-1] + "x")
    with pytest.raises(ConfigError, match=r"generation\.group_size: the run in .* has 8, got 4"):
        find_resume(config_in(tmp_path, "generation.group_size=4"), str(run))
    running = RunFolder(config, existing=run)
    with pytest.raises(ConfigError, match="still running"):
        find_resume(config, str(run))
    with pytest.raises(ConfigError, match="still running"):
        RunFolder(config, existing=run)
    running.unlock()
    with pytest.raises(ConfigError, match="is completed"):
        find_resume(config, str(ended(config, "completed")))


def test_each_start_has_a_session_of_its_own_and_keeps_what_the_one_before_wrote(tmp_path):
    run = ended(config_in(tmp_path), "failed")
    ended(config_in(tmp_path, "train.num_steps=30"), "failed", existing=run)
    third = RunFolder(config_in(tmp_path, "train.num_steps=40"), existing=run)
    assert third.session_id == f"{run.name}.2"
    assert third.former_sessions == (run.name, f"{run.name}.1")
    steps = [
        load_config(run / name).train.num_steps for name in ("config-1.yaml", "config-2.yaml", "config.yaml")
    ]
    assert steps == [24, 30, 40]
    assert json.loads((run / "summary-2.json").read_text()) == {"status": "failed"}
    assert not (run / "summary.json").exists()


def test_rolling_back_leaves_one_line_for_each_step_that_counts(tmp_path):
    folder = RunFolder(config_in(tmp_path))
    for step in (1, 2, 3, 4):
        folder.log_step({"step": step, "loss": 0.1})
    with (folder.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')  # torn by a crash
    assert folder.roll_back(2) == 2
    folder.log_step({"step": 3, "loss": 0.3})

    def steps(name):
        return [json.loads(line)["step"] for line in (folder.path / name).read_text().splitlines()]

    assert steps("metrics.jsonl") == [1, 2, 3]
    assert steps("rolled_back.jsonl") == [3, 4]
