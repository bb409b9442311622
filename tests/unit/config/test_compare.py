"""A comparison's file, and the runs it asks for; what a wrong one prints, to the letter."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from pgpo_async.config import CompareConfig, PlannedRun, dump_config, load_compare, load_config, run_configs
from pgpo_async.contracts import ConfigError

BASE = "train: {num_steps: 20}\nalgorithm: {shaper: {params: {tau: 0.4}}}\n"
GOOD = "base: base.yaml\nseeds: [0]\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "base.yaml").write_text(BASE)
    return tmp_path / "compare.yaml"


@pytest.fixture
def load(path: Path) -> Callable[..., CompareConfig]:
    def _load(text: str, *overrides: str) -> CompareConfig:
        path.write_text(text)
        return load_compare(path, overrides)

    return _load


@pytest.fixture
def plan(load: Callable[..., CompareConfig], path: Path) -> Callable[..., list[PlannedRun]]:
    return lambda text, *overrides: run_configs(load(text, *overrides), path)


@pytest.fixture
def issues(plan: Callable[..., list[PlannedRun]], tmp_path: Path) -> Callable[..., Sequence[str]]:
    """Load and plan what cannot be; return the issues, with the folder's name taken out."""

    def _issues(text: str, *overrides: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            plan(text, *overrides)
        return [issue.replace(f"{tmp_path}/", "") for issue in caught.value.issues]

    return _issues


def test_runs_are_base_then_common_then_method_seed_by_seed(plan):
    text = (
        "base: base.yaml\nseeds: [3, 5]\noutput_dir: elsewhere\n"
        "common: {train.num_steps: 7, train.max_lag: 1}\n"
        "methods: {plain: {}, late: {train.max_lag: 4}}\n"
    )
    found = plan(text)
    assert [(run.method, run.seed, run.config.name) for run in found] == [
        ("plain", 3, "plain-seed3"),
        ("late", 3, "late-seed3"),
        ("plain", 5, "plain-seed5"),
        ("late", 5, "late-seed5"),
    ]
    late = found[3].config
    assert (late.seed, late.data.seed, late.output_dir) == (5, 5, "elsewhere")
    assert (late.train.num_steps, late.train.max_lag) == (7, 4)
    assert found[2].config.train.max_lag == 1
    assert late.algorithm.shaper.params == {"tau": 0.4}


def test_a_planned_run_is_what_the_same_overrides_launch(plan, path):
    (run,) = plan(GOOD + "methods: {m: {algorithm.shaper: {name: vppo, params: {}}, train.num_steps: 4}}")
    overrides = [
        "algorithm.shaper={name: vppo, params: {}}", "train.num_steps=4",
        "name=m-seed0", "seed=0", "data.seed=0", "output_dir=runs",
    ]  # fmt: skip
    assert run.config == load_config(path.parent / "base.yaml", overrides)


def test_the_runs_folder_can_be_chosen_by_the_caller(load, path):
    compare = load(GOOD + "methods: {m: {}}")
    assert run_configs(compare, path, output_dir="there")[0].config.output_dir == "there"


def test_a_base_is_found_beside_the_file_wherever_one_stands(plan, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert plan(GOOD + "methods: {m: {}}")[0].config.train.num_steps == 20


def test_dotted_and_nested_overrides_are_the_same(load):
    dotted = load(GOOD + "common: {train.num_steps: 5, train.max_lag: 1}\nmethods: {m: {model.path: x}}")
    nested = load(GOOD + "common: {train: {num_steps: 5, max_lag: 1}}\nmethods: {m: {model: {path: x}}}")
    assert dotted.common == {"train.num_steps": 5, "train.max_lag": 1}
    assert dotted.model_dump() == nested.model_dump()
    built = CompareConfig(base="base.yaml", seeds=(0,), common={"train": {"num_steps": 5}}, methods={"m": {}})
    assert built.common == {"train.num_steps": 5}


def test_nested_overrides_add_to_the_base_and_an_empty_mapping_replaces(plan):
    added, emptied = plan(
        GOOD + "methods:\n  added: {algorithm: {shaper: {params: {beta: 2.0}}}}\n"
        "  emptied: {algorithm: {shaper: {name: none, params: {}}}}\n"
    )
    assert added.config.algorithm.shaper.params == {"tau": 0.4, "beta": 2.0}
    assert emptied.config.algorithm.shaper.params == {}


def test_overrides_reach_into_common_and_methods_whichever_way_these_are_written(load):
    text = GOOD + "common: {train.num_steps: 5}\nmethods: {pgpo-0.4: {train: {max_lag: 1}}, pgpo-0: {}}"
    compare = load(
        text,
        "seeds=[0, 1]",
        "common.train.num_steps=6",
        "common.train.max_lag=3",
        "methods.pgpo-0.4.train.max_lag=2",
        "methods.new={train.max_lag: 0}",
        "methods.new.train.num_steps=9",
    )
    assert compare.seeds == (0, 1)
    assert compare.common == {"train.num_steps": 6, "train.max_lag": 3}
    assert compare.methods == {
        "pgpo-0.4": {"train.max_lag": 2},
        "pgpo-0": {},
        "new": {"train.max_lag": 0, "train.num_steps": 9},
    }


def test_a_dumped_comparison_is_loaded_as_an_equal_one(load):
    text = (
        GOOD + "common: {learner.optimizer.betas: [0.9, 0.99]}\nmethods: {m: {data.instruction: 'no'}, n: {}}"
    )
    compare = load(text)
    assert load(dump_config(compare)).model_dump() == compare.model_dump()


def test_a_built_comparison_tells_its_errors_by_method_too(path):
    compare = CompareConfig(
        base="base.yaml", seeds=(0,), common={"train.max_lga": 1}, methods={"m": {"train.max_lag": -1}}
    )
    with pytest.raises(ConfigError) as caught:
        run_configs(compare, path)
    assert caught.value.issues == (
        f"{path}: common.train.max_lga: unknown key, did you mean `max_lag`?",
        f"{path}: methods.m.train.max_lag: must be at least 0, got -1",
    )


FILE = [
    (
        "seeds: [0]\nmethods: {m: {}}",
        ["compare.yaml:1:1: base: must be the path of a run's config, got ''"],
    ),
    (
        "base: bse.yaml\nseeds: [0]\nmethods: {m: {}}",
        ["compare.yaml:1:7: base: bse.yaml: no such file, did you mean base.yaml?"],
    ),
    (
        "base: base.yaml",
        [
            "compare.yaml:1:1: seeds: must have at least one seed, got none",
            "compare.yaml:1:1: methods: must have at least one method, got none",
        ],
    ),
    (
        "base: base.yaml\nseeds: [1, 0, 1, -1]\nmethods: {m: {}}",
        ["compare.yaml:2:18: seeds[3]: must be at least 0, got -1"],
    ),
    (
        "base: base.yaml\nseeds: [1, 0, 1]\nmethods: {m: {}}",
        ["compare.yaml:2:8: seeds: must be distinct, got 1 twice"],
    ),
    (
        "base: base.yaml\nseeds: 1\nmethods: {m: {}}",
        ["compare.yaml:2:8: seeds: must be a list, got 1 (an integer)"],
    ),
    (
        GOOD + "methods: {a b: {}, ../x: {}}",
        [
            "compare.yaml:3:16: methods.a b: a method's name must be letters, digits, `-`, `_` and `.`, a "
            "letter or digit first, got 'a b'",
            "compare.yaml:3:26: methods.../x: a method's name must be letters, digits, `-`, `_` and `.`, a "
            "letter or digit first, got '../x'",
        ],
    ),
    (
        GOOD + "methods: {m: , n: 3}",
        [
            "compare.yaml:3:13: methods.m: must be a mapping of keys to values, got nothing (null), write {} "
            "for none",
            "compare.yaml:3:19: methods.n: must be a mapping of keys to values, got 3 (an integer)",
        ],
    ),
    (
        GOOD + "method: {m: {}}\nmethods: {m: {}}",
        ["compare.yaml:3:1: method: unknown key, did you mean `methods`?"],
    ),
    (
        GOOD + "train: {max_lag: 3}\nmethods: {m: {}}",
        ["compare.yaml:3:1: train: unknown key, `train` is of a run: set it in `common` or in a method"],
    ),
    (
        GOOD + "common: {data.seed: 1, output_dir: x}\nmethods: {m: {seed: 1, name: x}}",
        [
            "compare.yaml:3:21: common.data.seed: cannot be set for a run: list it in `seeds`",
            "compare.yaml:3:36: common.output_dir: cannot be set for a run: set the comparison's",
            "compare.yaml:4:21: methods.m.seed: cannot be set for a run: list it in `seeds`",
            "compare.yaml:4:30: methods.m.name: cannot be set for a run: method and seed make it",
        ],
    ),
    (
        GOOD + "common:\n  train.num_steps: 5\n  train: {num_steps: 6}\n  a..b: 1\nmethods: {m: {}}",
        [
            "compare.yaml:5:11: common.train.num_steps: duplicate key, first at line 4 column 3",
            "compare.yaml:6:3: common.a..b: must be a dotted key, for instance train.num_steps",
        ],
    ),
    (
        GOOD + "methods: {m: {train: 3, train.num_steps: 5}}",
        ["compare.yaml:3:25: methods.m.train: duplicate key, first at line 3 column 15"],
    ),
]


@pytest.mark.parametrize(("text", "expected"), FILE)
def test_a_wrong_comparison_is_told_with_place_field_and_what_was_meant(issues, text, expected):
    assert issues(text) == expected


RUNS = [
    (
        GOOD + "methods:\n  a: {}\n  b:\n    algorithm:\n      shaper: {params: {tua: 3}}",
        ["compare.yaml:7:25: methods.b.algorithm.shaper.params.tua: unknown key, did you mean `tau`?"],
    ),
    (
        GOOD + "methods: {b: {algorithm.shaper.params.tau: 3}}",
        ["compare.yaml:3:44: methods.b.algorithm.shaper.params.tau: must be at most 1, got 3"],
    ),
    (
        GOOD + "methods: {b: {algorithm.shaper.name: none}}",
        ["base.yaml:2:31: algorithm.shaper.params.tau: unknown key, there are none to set here "
         "(compare.yaml: with every method)"],
    ),
    (
        GOOD + "methods: {a: {}, b: {algorithm.shaper.name: none}}",
        ["base.yaml:2:31: algorithm.shaper.params.tau: unknown key, there are none to set here "
         "(compare.yaml: with methods.b)"],
    ),
    (
        GOOD + "common: {learner.optimizer.warmup_steps: 9}\nmethods: {a: {}, b: {train.num_steps: 3}}",
        ["compare.yaml:3:42: common.learner.optimizer.warmup_steps: must be at most train.num_steps (3), "
         "got 9 (compare.yaml: with methods.b)"],
    ),
    (
        GOOD + "common: {trian: {max_lag: 3}}\nmethods: {a: {lr: 1}, b: {data: 3}}",
        [
            "compare.yaml:3:10: common.trian: unknown key, did you mean `train`?",
            "compare.yaml:4:15: methods.a.lr: unknown key, `lr` belongs to `learner.optimizer`",
            "compare.yaml:4:33: methods.b.data: must be a mapping of keys to values, got 3 (an integer)",
        ],
    ),
    (
        GOOD + "common: {train: fast}\nmethods: {a: {train.num_steps: 3}}",
        [
            "compare.yaml:3:17: common.train: must be a mapping of keys to values, got 'fast' (a string)",
            "compare.yaml:4:15: methods.a.train.num_steps: cannot be set, train must be a mapping, got "
            "'fast' (a string)",
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), RUNS)
def test_a_wrong_override_is_told_where_it_was_written_and_by_its_method(issues, text, expected):
    assert issues(text) == expected


def test_the_same_issue_of_several_seeds_and_methods_is_told_once(issues):
    text = (
        "base: base.yaml\nseeds: [0, 1, 2]\ncommon: {train.max_lag: -1}\n"
        "methods: {a: {}, b: {train.num_steps: 0}}\n"
    )
    assert issues(text) == [
        "compare.yaml:3:25: common.train.max_lag: must be at least 0, got -1",
        "compare.yaml:4:39: methods.b.train.num_steps: must be above 0, got 0",
    ]


def test_what_is_wrong_in_the_base_alone_is_told_as_the_base_s(issues, path):
    (path.parent / "base.yaml").write_text("train: {max_lag: -1, num_steps: 0}")
    assert issues(GOOD + "methods: {a: {}, b: {train.num_steps: 3}}") == [
        "base.yaml:1:18: train.max_lag: must be at least 0, got -1",
        "base.yaml:1:33: train.num_steps: must be above 0, got 0",
    ]


OVERRIDES = [
    (
        "methods.pgop.train.max_lag=1",
        "override 'methods.pgop.train.max_lag=1': methods.pgop: unknown method, did you mean `methods.pgpo`?",
    ),
    (
        "methods.x.train.max_lag=1",
        "override 'methods.x.train.max_lag=1': methods.x: unknown method, must be one of pgpo",
    ),
    (
        "methods.pgpo.train.max_lga=1",
        "override 'methods.pgpo.train.max_lga=1': methods.pgpo.train.max_lga: unknown key, did you mean "
        "`max_lag`?",
    ),
    ("comon.train.max_lag=1", "override 'comon.train.max_lag=1': comon: unknown key, did you mean `common`?"),
    (
        "common={train.max_lag: 1, train: {max_lag: 2}}",
        "override 'common={train.max_lag: 1, train: {max_lag: 2}}': common.train.max_lag: duplicate key",
    ),
    ("seeds=[]", "override 'seeds=[]': seeds: must have at least one seed, got none"),
]


@pytest.mark.parametrize(("override", "expected"), OVERRIDES)
def test_a_wrong_override_of_the_comparison_is_told_as_it_was_typed(issues, override, expected):
    assert issues(GOOD + "methods: {pgpo: {}}", override) == [expected]
