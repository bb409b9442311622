"""An evaluation goes on, begins anew, or is refused; two are compared by prompt."""

import json
import math
from pathlib import Path

import pytest

from pgpo_async.config import load_config
from pgpo_async.contracts import ConfigError
from pgpo_async.evaluation.answer_file import NAME as ANSWERS
from pgpo_async.evaluation.results import Labels
from pgpo_async.suite import comparison, identity
from pgpo_async.suite.benchmarks import Benchmark, find_benchmarks
from pgpo_async.suite.evaluation import Evaluation
from pgpo_async.suite.target import find_target

LOCAL = Path("configs/local.yaml")


@pytest.fixture
def suite(tmp_path):
    folder = tmp_path / "suite"
    folder.mkdir()
    for name in "ab":
        rows = ({"images": [], "problem": "q", "answer": str(n)} for n in range(4))
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder)


def evaluation(tmp_path, suite, *overrides, name="one", **how):
    target = find_target(LOCAL, overrides)
    return Evaluation(target, find_benchmarks(target.config, suite, None), tmp_path / name, suite, **how)


def write_answers(folder, rights, samples=2):
    """`rights[benchmark][n]` of the samples are right."""
    with (folder / ANSWERS).open("w") as file:
        for name, numbers in rights.items():
            for prompt, right in enumerate(numbers):
                for sample in range(samples):
                    row = {
                        "benchmark": name, "prompt_id": f"{name}/{prompt}", "sample": sample,
                        "accuracy": float(sample < right), "num_tokens": 3, "finish_reason": "stop",
                    }  # fmt: skip
                    file.write(json.dumps(row) + "\n")


def test_what_is_answered_whole_needs_no_engine(tmp_path, suite):
    begun = evaluation(tmp_path, suite, "evaluation.samples_per_prompt=2")
    write_answers(begun.folder, {"a": [2, 1, 0, 0], "b": [2, 2, 2, 2]})
    (begun.folder / "results.json").write_text('{"benchmarks": {}}')
    said = []
    first, second = begun.run(said.append)
    assert (first.accuracy.mean, second.accuracy.mean) == (0.375, 1.0)
    assert said == [f"8 of 8 prompts are answered in {begun.folder}"]
    told = json.loads((begun.folder / "results.json").read_text())
    assert told["average"]["accuracy"] == pytest.approx(0.6875)
    assert told["settings"]["samples_per_prompt"] == 2


@pytest.mark.parametrize(
    ("override", "name"),
    [
        ("evaluation.samples_per_prompt=8", "samples_per_prompt: 4, now 8"),
        ("evaluation.temperature=0.5", "temperature: 1.0, now 0.5"),
        ("evaluation.seed=1", "seed: 0, now 1"),
        ("model.path=builtin:tiny-vlm-objects", "weights: "),
        ("data.instruction=think", "instruction: "),
        ("reward.tolerance=0.1", "reward.tolerance: 0.0, now 0.1"),
    ],
)
def test_with_another_setting_it_is_refused_by_that_name_and_force_begins_anew(
    tmp_path, suite, override, name
):
    evaluation(tmp_path, suite)._lock.close()
    with pytest.raises(ConfigError) as caught:
        evaluation(tmp_path, suite, override)
    assert any(f"holds an evaluation with another {name}" in issue for issue in caught.value.issues)
    assert len(caught.value.issues) == 2, "nothing else differs"


def test_force_throws_the_answers_away(tmp_path, suite):
    begun = evaluation(tmp_path, suite)
    write_answers(begun.folder, {"a": [1]})
    begun._lock.close()
    evaluation(tmp_path, suite, "evaluation.seed=1", force=True)
    assert not (begun.folder / ANSWERS).exists()


def test_two_at_once_in_one_folder_are_refused(tmp_path, suite):
    begun = evaluation(tmp_path, suite)
    with pytest.raises(ConfigError, match="still running"):
        evaluation(tmp_path, suite)
    assert begun.folder.is_dir()


def test_two_evaluations_are_compared_by_prompt_with_what_else_differs_said(tmp_path, suite):
    ours = evaluation(tmp_path, suite, "evaluation.samples_per_prompt=2")
    theirs = evaluation(
        tmp_path, suite, "evaluation.samples_per_prompt=2", "evaluation.temperature=0.5", name="two"
    )
    write_answers(ours.folder, {"a": [2, 2, 2, 1], "b": [1, 1, 1, 1]})
    write_answers(theirs.folder, {"a": [0, 0, 2, 1], "b": [1, 1]})
    found = comparison.compare(ours.folder, theirs.folder, ours.benchmarks)
    assert (found.benchmarks["a"].mean, found.benchmarks["a"].num_prompts) == (0.5, 4)
    assert (found.benchmarks["b"].mean, found.benchmarks["b"].num_prompts) == (0.0, 2)
    assert found.average.mean == 0.25
    assert 0.0 < found.average.p_value <= 1.0
    assert found.warnings == ["the two were asked with another temperature: 1.0 and 0.5"]
    assert not math.isnan(found.as_json()["average"]["standard_error"])


def test_an_evaluation_without_common_prompts_cannot_be_compared(tmp_path, suite):
    ours = evaluation(tmp_path, suite)
    with pytest.raises(ConfigError, match="prompts in common"):
        comparison.compare(ours.folder, ours.folder, ours.benchmarks)


def test_the_other_evaluation_is_found_by_its_folder_or_its_run(tmp_path, suite):
    ours = evaluation(tmp_path, suite)
    there = tmp_path / "run" / "evaluations" / "one"
    there.mkdir(parents=True)
    (there / identity.NAME).write_text("{}")
    assert comparison.find_other(tmp_path / "run", ours.folder) == there
    assert comparison.find_other(there, ours.folder) == there
    with pytest.raises(ConfigError, match="must be an evaluation's folder, or a run with evaluations/one"):
        comparison.find_other(tmp_path, ours.folder)


def test_a_model_folder_alone_is_refused_with_the_way_to_ask_it(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match=f"give a config .* model.path={tmp_path}"):
        find_target(tmp_path, ())


def test_the_configs_own_engines_are_the_targets():
    target = find_target(LOCAL, ["generator.replicas=3"])
    assert target.config == load_config(LOCAL, ["generator.replicas=3"])
    assert target.home.parts[-2:] == ("evaluations", "local")


def test_labels_are_none_for_a_file_of_ones_own(suite):
    (first, _) = find_benchmarks(load_config("configs/local.yaml"), suite, None)
    assert isinstance(first, Benchmark)
    assert first.labels == Labels()
