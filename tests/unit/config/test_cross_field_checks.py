"""Combinations of fields that cannot work, each blamed on the field that the user wrote."""

import pytest
from pydantic import ValidationError

from pgpo_async.config import RunConfig
from pgpo_async.config.inputs import GenerationConfig

COMBINATIONS = [
    (
        "generation: {group_size: 1}",
        "c.yaml:1:26: generation.group_size: must be at least 2 with algorithm.advantage 'std', which "
        "compares a group's responses, got 1",
    ),
    (
        "algorithm: {icepop_low: 6}",
        "c.yaml:1:25: algorithm.icepop_low: must be below algorithm.icepop_high (5.0), got 6.0",
    ),
    (
        "algorithm: {filter: {high: 0.005}}",  # the field to blame was not written: the place is of the other
        "c.yaml:1:28: algorithm.filter.low: must be below algorithm.filter.high (0.005), got 0.01",
    ),
    (
        "algorithm: {filter: {key: length}}",
        "c.yaml:1:27: algorithm.filter.key: must be one of 'accuracy', 'format', 'reward' without a "
        "reward.function, got 'length'",
    ),
    (
        "reward: {accuracy_weight: 0, format_weight: 0}",
        "c.yaml:1:27: reward.accuracy_weight: must be above 0 where reward.format_weight is 0, got 0: "
        "every reward would be 0",
    ),
    (
        "reward: {function: grade}",
        "c.yaml:1:20: reward.function: must be 'module:function' or 'path/to/file.py:function', got 'grade'",
    ),
    (
        "model: {min_pixels: 9, max_pixels: 8}",
        "c.yaml:1:21: model.min_pixels: must be at most model.max_pixels (8), got 9",
    ),
    ("model: {path: ''}", "c.yaml:1:15: model.path: must not be empty, got ''"),
    ("name: a/b", "c.yaml:1:7: name: must be text without '/', got 'a/b'"),
    ("data: {seed: -1}", "c.yaml:1:14: data.seed: must be at least 0, got -1"),
    (
        "learner: {replicas: 33}",
        "c.yaml:1:21: train.groups_per_step: must be at least learner.replicas (33), so that each rank has a "
        "group, got 32",
    ),
    ("scorer: {gpus: 1.5}", "c.yaml:1:16: scorer.gpus: must be a whole number or below 1, got 1.5"),
    (
        "learner: {gpus: 2}",
        "c.yaml:1:17: learner.gpus: must be at most 1, a rank drives at most one device, got 2.0",
    ),
    (
        "learner: {optimizer: {betas: [0.9, 1]}}",
        "c.yaml:1:36: learner.optimizer.betas[1]: must be in [0, 1), got 1.0",
    ),
    (
        "queue: {max_groups: 8}",
        "c.yaml:1:21: queue.max_groups: must be at least train.groups_per_step (32), or no batch ever fills, "
        "got 8",
    ),
    (
        "train: {num_steps: 5}\nlearner: {optimizer: {warmup_steps: 6}}",
        "c.yaml:2:37: learner.optimizer.warmup_steps: must be at most train.num_steps (5), got 6",
    ),
    (
        "generator: {engine: {dtype: float16}}",
        "c.yaml:1:29: generator.engine.dtype: cannot be set here: model.dtype sets it, for the scorer and "
        "the learner too",
    ),
]


@pytest.mark.parametrize(("text", "expected"), COMBINATIONS)
def test_fields_that_do_not_fit_together_are_told_at_one_of_them(issues, text, expected):
    assert issues(text) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "generation: {group_size: 1}\nalgorithm: {advantage: none}",
        "algorithm: {filter: {key: length}}\nreward: {function: 'grading:grade'}",
        "reward: {accuracy_weight: 0, format_weight: 0, function: 'folder/file.py:grade'}",
        "reward: {accuracy_weight: 0}",
        "scorer: {gpus: 0.5}\ngenerator: {gpus: 2}\nlearner: {gpus: 1}",
        "queue: {max_groups: 32}\nlearner: {replicas: 32}",
        "generator: {engine: {max_model_len: 512}}",
    ],
)
def test_combinations_at_the_edge_are_accepted(load, text):
    load(text)


def test_a_config_made_in_python_is_checked_too():
    with pytest.raises(ValidationError, match=r"generation\.group_size\n *must be at least 2"):
        RunConfig(generation=GenerationConfig(group_size=1))


WARNINGS = [
    ("", []),
    ("generation: {top_p: 0.99}", ["truncated distribution"]),
    ("train: {max_lag: 0}", ["nothing overlaps"]),
    ("train: {max_lag: 0}\nalgorithm: {is_mode: off}", ["nothing overlaps"]),
    ("algorithm: {is_mode: off}", ["nothing corrects"]),
    ("generation: {group_size: 1}\nalgorithm: {advantage: none}", ["every advantage is 0"]),
    ("generator: {replicas: 4}", ["is 128, but admission lets only 96 groups"]),
    ("ray: {address: auto, num_cpus: 4}", ["joins another"]),
]


@pytest.mark.parametrize(("text", "expected"), WARNINGS)
def test_what_works_otherwise_than_expected_is_warned_of(load, text, expected):
    warnings = load(text).warnings()
    assert len(warnings) == len(expected)
    assert all(part in warning for part, warning in zip(expected, warnings, strict=True))
