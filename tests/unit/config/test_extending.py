"""One config file laid over another: what is joined, what is replaced, and where errors are told."""

import pytest

from pgpo_async.config import dump_config, load_config, run_configs
from pgpo_async.config.load_compare import load_compare
from pgpo_async.contracts import ConfigError

BASE = """\
name: base
train: {num_steps: 7, groups_per_step: 4}
generator:
  engine: {max_num_seqs: 9, enforce_eager: true}
algorithm: {shaper: {name: pgpo, params: {tau: 0.3}}}
learner: {optimizer: {betas: [0.8, 0.9]}}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "base.yaml").write_text(BASE)
    return tmp_path


def told(folder, text, *overrides):
    path = folder / "sub/c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return [issue.replace(f"{folder}/", "") for issue in caught.value.issues]


def test_a_file_says_what_differs_from_the_one_it_extends_and_sections_are_joined(folder):
    path = folder / "sub/c.yaml"
    path.write_text(
        "extends: ../base.yaml\nname: c\ntrain: {num_steps: 8}\ngenerator: {engine: {max_num_seqs: 10}}\n"
    )
    config = load_config(path, ["train.max_lag=5"])
    assert (config.name, config.train.num_steps, config.train.groups_per_step) == ("c", 8, 4)
    assert config.generator.engine == {"max_num_seqs": 10, "enforce_eager": True}
    assert (config.train.max_lag, config.learner.optimizer.betas) == (5, (0.8, 0.9))


def test_a_list_is_replaced_not_joined(folder):
    path = folder / "sub/c.yaml"
    path.write_text("extends: ../base.yaml\nlearner: {optimizer: {betas: [0.5, 0.6]}}\n")
    assert load_config(path).learner.optimizer.betas == (0.5, 0.6)


def test_extensions_of_extensions_are_read_and_the_nearest_wins(folder):
    (folder / "middle.yaml").write_text("extends: base.yaml\nname: middle\nseed: 3\n")
    path = folder / "sub/c.yaml"
    path.write_text("extends: ../middle.yaml\nseed: 4\n")
    config = load_config(path)
    assert (config.name, config.seed, config.train.num_steps) == ("middle", 4, 7)


def test_the_dumped_config_is_whole_and_extends_nothing(folder):
    path = folder / "sub/c.yaml"
    path.write_text("extends: ../base.yaml\nname: c\n")
    config = load_config(path)
    (folder / "dumped.yaml").write_text(dump_config(config))
    (folder / "base.yaml").unlink()
    assert load_config(folder / "dumped.yaml") == config


def test_a_comparison_may_build_on_a_file_that_extends_another(folder):
    (folder / "sub/c.yaml").write_text("extends: ../base.yaml\nname: c\n")
    path = folder / "compare.yaml"
    path.write_text("base: sub/c.yaml\nseeds: [1]\nmethods: {a: {}}\n")
    (run,) = run_configs(load_compare(path), path)
    assert run.config.train.num_steps == 7


def test_what_is_wrong_is_told_in_the_file_that_says_it_the_extended_one_first(folder):
    (folder / "base.yaml").write_text("name: base\n\ntrain: {num_steps: many}\n")
    assert told(folder, "extends: ../base.yaml\nseed: x\n") == [
        "sub/../base.yaml:3:20: train.num_steps: must be an integer, got 'many' (a string)",
        "sub/c.yaml:2:7: seed: must be an integer, got 'x' (a string)",
    ]


def test_a_value_that_is_replaced_is_told_where_it_was_replaced(folder):
    (issue,) = told(folder, "extends: ../base.yaml\ntrain:\n  num_steps: 0\n")
    assert issue.startswith("sub/c.yaml:3:14: train.num_steps: must be ")
    (issue,) = told(folder, "extends: ../base.yaml\n", "train.num_steps=0")
    assert issue.startswith("override 'train.num_steps=0': train.num_steps: must be ")


def test_fields_that_do_not_fit_together_across_files_are_told_in_the_upper_one(folder):
    (issue,) = told(folder, "extends: ../base.yaml\nalgorithm: {shaper: {name: vppo}}\n")
    assert issue.startswith("sub/../base.yaml:5:43: algorithm.shaper.params.tau: unknown key")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("extends: ../bass.yaml", "sub/c.yaml:1:10: extends: sub/../bass.yaml: no such file, did you mean"),
        ("extends: [a]", "sub/c.yaml:1:10: extends: must be the path of a config file, got a list"),
        ("extends: ''", "sub/c.yaml:1:10: extends: must be the path of a config file, got ''"),
        ("extends: c.yaml", "sub/c.yaml:1:10: extends: must not lead back to a file that extends it"),
        ("extend: ../base.yaml", "sub/c.yaml:1:1: extend: unknown key, did you mean `extends`?"),
        ("train: {extends: a}", "sub/c.yaml:1:9: train.extends: unknown key, it can only be at the top"),
    ],
)
def test_a_wrong_extends_is_told_at_its_place(folder, text, words):
    (issue,) = told(folder, text + "\n")
    assert issue.startswith(words)


def test_a_circle_is_refused_where_it_closes(folder):
    (folder / "base.yaml").write_text("extends: sub/c.yaml\n")
    (issue,) = told(folder, "extends: ../base.yaml\n")
    assert issue.startswith("sub/../base.yaml:1:10: extends: must not lead back")
