"""Which prompts a suite has, and what is said where they are not there."""

import json

import pytest

from pgpo_async.config import load_config
from pgpo_async.contracts import ConfigError
from pgpo_async.data.importing import BENCHMARKS
from pgpo_async.suite.benchmarks import find_benchmarks


@pytest.fixture
def config():
    return load_config("configs/local.yaml")


def write(path, count):
    rows = ({"images": [], "problem": f"how many? {n}", "answer": str(n)} for n in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_config_has_its_held_out_prompts_as_many_as_it_says_or_as_are_wanted(config):
    (found,) = find_benchmarks(config, "held-out", None)
    assert (found.num_prompts, found.where) == (200, "builtin:shapes")
    (found,) = find_benchmarks(config, "held-out", None, limit=5)
    assert len({prompt.prompt_id for prompt in found.prompts([])}) == 5
    none = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"num_prompts": 0})})
    with pytest.raises(ConfigError, match=r"evaluation\.num_prompts"):
        find_benchmarks(none, "held-out", None)


def test_a_folder_is_a_suite_with_a_row_for_each_file_in_the_order_of_names(config, tmp_path):
    write(tmp_path / "b.jsonl", 3)
    write(tmp_path / "a.jsonl", 2)
    (tmp_path / "notes.txt").write_text("no benchmark")
    found = find_benchmarks(config, str(tmp_path), None)
    assert [(b.name, b.num_prompts) for b in found] == [("a", 2), ("b", 3)]
    assert sorted(p.answer for p in found[1].prompts([])) == ["0", "1", "2"]
    (only,) = find_benchmarks(config, str(tmp_path), None, only=["b"], limit=2)
    assert (only.name, only.num_prompts) == ("b", 2)


def test_rows_that_cannot_be_used_are_told_by_reason_and_the_others_asked(config, tmp_path):
    rows = [{"images": [], "problem": "q", "answer": answer} for answer in ("1", None, "3")]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (found,) = find_benchmarks(config, str(tmp_path), None)
    failures = []
    assert sorted(prompt.answer for prompt in found.prompts(failures)) == ["1", "3"]
    assert failures == ["missing_answer"]


def test_each_missing_file_of_a_known_suite_is_told_with_the_command_that_makes_it(config, tmp_path):
    with pytest.raises(ConfigError) as caught:
        find_benchmarks(config, "pgpo", tmp_path)
    told = "\n".join(caught.value.issues)
    for name in BENCHMARKS:
        assert f"`pgpo-async data import {name} --output {tmp_path / name}.parquet`" in told
    assert "--only" in told


@pytest.mark.parametrize(
    ("suite", "only", "words"),
    [
        ("pgop", (), "must be 'held-out', 'pgpo', or a folder of benchmarks, got 'pgop'"),
        ("pgpo", ("mathverse", "mathvers"), "--only: must be among .*, got mathvers"),
    ],
)
def test_an_unknown_name_is_told_with_those_that_are_known(config, tmp_path, suite, only, words):
    with pytest.raises(ConfigError, match=words):
        find_benchmarks(config, suite, tmp_path, only=only)


def test_a_folder_without_benchmarks_and_two_files_of_one_name_are_refused(config, tmp_path):
    with pytest.raises(ConfigError, match="must hold files ending in"):
        find_benchmarks(config, str(tmp_path), None)
    write(tmp_path / "a.jsonl", 1)
    write(tmp_path / "a.parquet", 1)
    with pytest.raises(ConfigError, match="one file, got several of one name"):
        find_benchmarks(config, str(tmp_path), None)
