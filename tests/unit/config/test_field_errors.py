"""What a wrong config prints, to the letter: place, field, what is wrong, what was meant."""

import pytest

ONE_FIELD = [
    # unknown keys
    ("train: {max_lga: 2}", "c.yaml:1:9: train.max_lga: unknown key, did you mean `max_lag`?"),
    ("learner:\n  max_lag: 3", "c.yaml:2:3: learner.max_lag: unknown key, `max_lag` belongs to `train`"),
    ("lr: 1e-6", "c.yaml:1:1: lr: unknown key, `lr` belongs to `learner.optimizer`"),
    ("trian: {max_lag: 3}", "c.yaml:1:1: trian: unknown key, did you mean `train`?"),
    (
        "train: {seed: 3}",
        "c.yaml:1:9: train.seed: unknown key, `seed` belongs to the top level or `data` or `evaluation`",
    ),
    (
        "evaluation: {xyz: 3}",
        "c.yaml:1:14: evaluation.xyz: unknown key, must be one of `source`, `columns`, `num_prompts`, "
        "`before`, `every`, `replicas`, `samples_per_prompt`, `temperature`, `top_p`, `max_response_tokens`, "
        "`seed`",
    ),
    # types
    (
        'train: {num_steps: "3"}',
        "c.yaml:1:20: train.num_steps: must be an integer, got '3' (a string), write 3 without quotes",
    ),
    (
        "train: {num_steps: 1e3}",
        "c.yaml:1:20: train.num_steps: must be an integer, got 1000.0 (a number with a point), write 1000",
    ),
    ("seed: 1_000", "c.yaml:1:7: seed: must be an integer, got '1_000' (a string), write 1000"),
    ("seed: 0o17", "c.yaml:1:7: seed: must be an integer, got '0o17' (a string)"),
    ("seed: 1:30", "c.yaml:1:7: seed: must be an integer, got '1:30' (a string)"),
    ("seed: true", "c.yaml:1:7: seed: must be an integer, got true (a switch)"),
    (
        "learner: {zero_stage: true}",
        "c.yaml:1:23: learner.zero_stage: must be an integer, got true (a switch)",
    ),
    (
        "algorithm:\n  filter:\n    enabled: no",
        "c.yaml:3:14: algorithm.filter.enabled: must be true or false, got 'no' (a string), write false",
    ),
    (
        "model: {train_vision_tower: On}",
        "c.yaml:1:29: model.train_vision_tower: must be true or false, got 'On' (a string), write true",
    ),
    (
        "model: {train_vision_tower: 1}",
        "c.yaml:1:29: model.train_vision_tower: must be true or false, got 1 (an integer)",
    ),
    ("name: 3", "c.yaml:1:7: name: must be text, got 3 (an integer), put it in quotes"),
    ("name:", "c.yaml:1:6: name: must be text, got nothing (null), write '' for empty text"),
    (
        "train:\n",
        "c.yaml:1:7: train: must be a mapping of keys to values, got nothing (null), "
        "leave the key out for its default",
    ),
    (
        "generator: {engine: [1]}",
        "c.yaml:1:21: generator.engine: must be a mapping of keys to values, got a list",
    ),
    # values
    ("train: {max_lag: -1}", "c.yaml:1:18: train.max_lag: must be at least 0, got -1"),
    ("generation: {top_p: 1.5}", "c.yaml:1:21: generation.top_p: must be at most 1, got 1.5"),
    ("algorithm: {clip_low: 1}", "c.yaml:1:23: algorithm.clip_low: must be below 1, got 1"),
    ("learner: {optimizer: {lr: 0}}", "c.yaml:1:27: learner.optimizer.lr: must be above 0, got 0"),
    (
        "learner: {step_timeout_s: .inf}",
        "c.yaml:1:27: learner.step_timeout_s: must be a finite number, got .inf",
    ),
    (
        "algorithm: {advantage: sdt}",
        "c.yaml:1:24: algorithm.advantage: must be one of 'std', 'none', 'loo', got 'sdt', "
        "did you mean 'std'?",
    ),
    (
        "learner: {optimizer: {betas: [0.9]}}",
        "c.yaml:1:30: learner.optimizer.betas[1]: is missing, got a list of 1",
    ),
    (
        'learner: {optimizer: {betas: [0.9, "0.9"]}}',
        "c.yaml:1:36: learner.optimizer.betas[1]: must be a number, got '0.9' (a string), "
        "write 0.9 without quotes",
    ),
    # shapers
    (
        "algorithm: {shaper: {name: pgop, params: {tau: 9}}}",
        "c.yaml:1:28: algorithm.shaper.name: must be one of 'pgpo', 'none', 'vppo', 'papo', 'tor', 'pepo', "
        "'module:Class', 'path/to/file.py:Class', got 'pgop', did you mean 'pgpo'?",
    ),
    (
        "algorithm: {shaper: {name: 'mine.py:'}}",
        "c.yaml:1:28: algorithm.shaper.name: must be one of 'pgpo', 'none', 'vppo', 'papo', 'tor', 'pepo', "
        "'module:Class', 'path/to/file.py:Class', got 'mine.py:'",
    ),
    (
        "algorithm: {shaper: {name: 3}}",
        "c.yaml:1:28: algorithm.shaper.name: must be one of 'pgpo', 'none', 'vppo', 'papo', 'tor', 'pepo', "
        "'module:Class', 'path/to/file.py:Class', got 3",
    ),
    (
        "algorithm: {shaper: {name: papo, params: {etta: 0.4}}}",
        "c.yaml:1:43: algorithm.shaper.params.etta: unknown key, did you mean `eta`?",
    ),
    (
        "algorithm: {shaper: {params: {tua: 0.4}}}",
        "c.yaml:1:31: algorithm.shaper.params.tua: unknown key, did you mean `tau`?",
    ),
    (
        "algorithm: {shaper: {params: {tau: 1.4}}}",
        "c.yaml:1:36: algorithm.shaper.params.tau: must be at most 1, got 1.4",
    ),
    (
        "algorithm: {shaper: {tau: 0.4}}",
        "c.yaml:1:22: algorithm.shaper.tau: unknown key, `tau` belongs to `algorithm.shaper.params`",
    ),
    (
        "algorithm: {shaper: {name: none, params: {tau: 0.4}}}",
        "c.yaml:1:43: algorithm.shaper.params.tau: unknown key, there are none to set here",
    ),
]


@pytest.mark.parametrize(("text", "expected"), ONE_FIELD)
def test_a_wrong_field_is_told_with_its_place_and_what_was_meant(issues, text, expected):
    assert issues(text) == [expected]


OVERRIDES = [
    (
        "num_steps",
        "override 'num_steps': must be KEY=VALUE with a dotted key, for instance train.num_steps=10",
    ),
    (
        "train..x=1",
        "override 'train..x=1': must be KEY=VALUE with a dotted key, for instance train.num_steps=10",
    ),
    ("train.max_lag=x", "override 'train.max_lag=x': train.max_lag: must be an integer, got 'x' (a string)"),
    ("trian.max_lag=3", "override 'trian.max_lag=3': trian: unknown key, did you mean `train`?"),
    (
        "train.max_lag.x=3",
        "override 'train.max_lag.x=3': train.max_lag: must be an integer, got a mapping",
    ),
    (
        "name.x=3",
        "override 'name.x=3': name.x: cannot be set, name must be a mapping, got 'given' (a string)",
    ),
    (
        "train={seed: 1, seed: 2}",
        "override 'train={seed: 1, seed: 2}': train.seed: duplicate key",
    ),
    (
        "train=[",
        "override 'train=[': train: not valid YAML: expected the node content, but found '<stream end>' "
        "(while parsing a flow node that starts at line 1)",
    ),
    (
        "algorithm.shaper={name: none, params: {tau: 1}}",
        "override 'algorithm.shaper={name: none, params: {tau: 1}}': algorithm.shaper.params.tau: "
        "unknown key, there are none to set here",
    ),
    (
        "queue.max_groups=8",
        "override 'queue.max_groups=8': queue.max_groups: must be at least train.groups_per_step (32), "
        "or no batch ever fills, got 8",
    ),
]


@pytest.mark.parametrize(("override", "expected"), OVERRIDES)
def test_a_wrong_override_is_told_as_it_was_typed(issues, override, expected):
    assert issues("name: given", override) == [expected]


def test_all_errors_are_told_at_once_in_the_order_of_their_places(issues):
    text = (
        "queue: {max_groups: 3}\n"
        "name: yes\n"
        "name: again\n"
        "train:\n"
        "  max_lag: -1\n"
        "  num_step: 3\n"
        "model: {dtype: fp32}\n"
    )
    assert issues(text, "train.max_lag=two", "seed", "learner.gpus=x") == [
        "c.yaml:1:21: queue.max_groups: must be at least train.groups_per_step (32), or no batch ever fills, "
        "got 3",
        "c.yaml:3:1: name: duplicate key, first at line 2 column 1",
        "c.yaml:6:3: train.num_step: unknown key, did you mean `num_steps`?",
        "c.yaml:7:16: model.dtype: must be one of 'float32', 'bfloat16', got 'fp32'",
        "override 'train.max_lag=two': train.max_lag: must be an integer, got 'two' (a string)",
        "override 'seed': must be KEY=VALUE with a dotted key, for instance train.num_steps=10",
        "override 'learner.gpus=x': learner.gpus: must be a number, got 'x' (a string)",
    ]


def test_a_wrong_field_hides_neither_other_combinations_nor_invents_its_own(issues):
    # Without its wrong advantage this would be a group of one with "std", which nobody wrote.
    text = "generation: {group_size: 1}\nalgorithm: {advantage: sdt, icepop_low: 9}"
    assert [issue.split(": ")[1] for issue in issues(text)] == ["algorithm.advantage", "algorithm.icepop_low"]
