"""Model files, prompts, own code, the checkpoints' URL: as they are before a run, and broken."""

import json
import shutil
from dataclasses import replace

import pytest

from pgpo_async.demo.tiny_vlm import tiny_vlm_path
from pgpo_async.orchestration.doctor.inputs import check_checkpoint_url, check_inputs, check_reward
from pgpo_async.orchestration.doctor.model_files import weight_problems
from pgpo_async.orchestration.doctor.prompts import prompt_lines


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_vlm_path(), folder)
    return folder


def errors(lines):
    return {line.name: line.found for line in lines if line.level == "error"}


def test_the_demos_model_and_prompts_are_well(config, machine):
    lines = list(check_inputs(config(), machine))
    assert [line.name for line in lines] == ["model", "model processor", "data.source", "evaluation.source"]
    assert {line.level for line in lines} == {"ok"}
    assert "8 images decode" in lines[2].found


def test_a_model_that_is_missing_is_named_and_the_prompts_are_still_looked_at(config, machine):
    lines = list(check_inputs(config("model.path=/no/such/model"), machine))
    assert [line.level for line in lines] == ["error", "ok", "ok"]
    assert "/no/such/model" in lines[0].found
    assert "model.path" in lines[0].advice


def test_a_file_that_was_cut_off_is_told_by_its_size(config, machine, model):
    assert weight_problems(model) == []
    weights = model / "model.safetensors"
    size = weights.stat().st_size
    with weights.open("r+b") as file:
        file.truncate(size - 7)
    found = errors(check_inputs(config(f"model.path={model}"), machine))
    assert f"must be {size:,} bytes, got {size - 7:,}" in found["model"]
    weights.write_bytes(b"<html>not found</html>")
    assert "must begin with a header" in weight_problems(model)[0]


def test_a_shard_that_the_index_names_must_be_there_with_its_tensors(model):
    (model / "model.safetensors").rename(model / "a.safetensors")
    index = {"weight_map": {"lm_head.odd": "a.safetensors", "x": "b.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    assert weight_problems(model) == [
        "a.safetensors lacks lm_head.odd and 0 more",
        "b.safetensors is missing",
    ]
    (model / "model.safetensors.index.json").write_text("{")
    assert "cannot be read" in weight_problems(model)[0]


def test_a_model_of_another_kind_or_without_a_processor_is_refused(config, machine, model):
    (model / "processor_config.json").unlink()
    (model / "tokenizer.json").unlink()
    assert "model processor" in errors(check_inputs(config(f"model.path={model}"), machine))
    (model / "config.json").write_text('{"model_type": "llama"}')
    assert "'llama'" in errors(check_inputs(config(f"model.path={model}"), machine))["model"]


def test_a_hub_name_that_may_not_be_downloaded_is_an_error(config, machine, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    offline = replace(machine, environ={"HF_HUB_OFFLINE": "1"})
    found = errors(check_inputs(config("model.path=nobody/no-such-model-here"), offline))
    assert "HF_HUB_OFFLINE" in found["model"]


def test_prompts_that_cannot_be_used_are_counted_by_reason(config, tmp_path):
    path = tmp_path / "prompts.jsonl"
    good = {"images": [], "problem": "How many?", "answer": "1"}
    path.write_text(
        "".join(json.dumps(row) + "\n" for row in (good, {**good, "problem": ""}, {"problem": "x"}))
    )
    run = config(f"data.source={path}", "evaluation.num_prompts=0")
    (line,) = prompt_lines(run, None)
    assert line.level == "warning"
    for text in ("1 of the first 3 prompts can be used", "1 unreadable_row", "1 missing_answer"):
        assert text in line.found
    path.write_text(json.dumps(good) + "\n")
    (line,) = prompt_lines(run, None)
    assert (line.level, "no images" in line.found) == ("warning", True)
    path.write_text(json.dumps({**good, "answer": None}) + "\n")
    (line,) = prompt_lines(run, None)
    assert line.level == "error"
    (line,) = prompt_lines(config("data.source=no.parquet", "evaluation.num_prompts=0"), None)
    assert (line.level, line.name) == ("error", "data.source")


def test_a_reward_function_is_loaded_in_a_process_of_its_own(config, tmp_path):
    path = tmp_path / "own.py"
    path.write_text("import os\nos._exit(3)\n")
    (line,) = check_reward(config(f"reward.function={path}:score"))
    assert line.level == "error"
    assert "exit code 3" in line.found
    path.write_text("def score(text, prompt):\n    return 1.0\n")
    (line,) = check_reward(config(f"reward.function={path}:score"))
    assert line.level == "ok"


def test_a_checkpoint_url_is_tried_and_left_as_it_was(config, tmp_path):
    (line,) = check_checkpoint_url(config(f"train.checkpoint_url=file://{tmp_path}/a/b"))
    assert line.level == "ok"
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    (line,) = check_checkpoint_url(config(f"train.checkpoint_url=file://{tmp_path}/file/b"))
    assert line.level == "error"
    (line,) = check_checkpoint_url(config("train.checkpoint_url=nosuch://key:pa55word@host/run"))
    assert line.level == "error"
    assert "pa55word" not in line.found
