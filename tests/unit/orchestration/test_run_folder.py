"""What a run leaves on disk."""

import json

import pytest

from pgpo_async.config import load_config
from pgpo_async.contracts import ConfigError
from pgpo_async.orchestration.run_folder import RunFolder


def config_in(folder):
    return load_config("configs/local.yaml", [f"output_dir={folder}"])


def test_the_resolved_config_is_written_and_loads_to_an_equal_one(tmp_path):
    config = config_in(tmp_path)
    folder = RunFolder(config)
    assert load_config(folder.path / "config.yaml") == config


def test_two_runs_started_in_the_same_second_get_folders_of_their_own(tmp_path):
    assert RunFolder(config_in(tmp_path)).path != RunFolder(config_in(tmp_path)).path


def test_a_folder_that_cannot_be_written_is_named_with_what_to_do(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ConfigError, match="output_dir: cannot write the run folder") as caught:
        RunFolder(config_in(blocked / "runs"))
    assert str(blocked) in str(caught.value)
    assert "output_dir=FOLDER" in str(caught.value)


def test_numbers_that_json_has_none_for_are_null(tmp_path):
    folder = RunFolder(config_in(tmp_path))
    folder.log_step({"step": 1, "learner/loss": float("nan"), "parts": [float("inf"), 0.5]})
    folder.write_summary({"mismatch_kl": float("nan")})
    written = [(folder.path / name).read_text() for name in ("metrics.jsonl", "summary.json")]
    step, summary = (json.loads(text, parse_constant=pytest.fail) for text in written)
    assert step == {"step": 1, "learner/loss": None, "parts": [None, 0.5]}
    assert summary == {"mismatch_kl": None}


def test_a_summary_replaces_the_one_before_and_steps_append(tmp_path):
    folder = RunFolder(config_in(tmp_path))
    folder.write_summary({"steps": 1})
    folder.write_summary({"steps": 2})
    folder.log_step({"step": 1})
    folder.log_step({"step": 2})
    assert json.loads((folder.path / "summary.json").read_text()) == {"steps": 2}
    lines = (folder.path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
    assert not list(folder.path.glob(".*partial")), "nothing half-written stays"
