"""How the text is read: YAML 1.2's scalars, and what is not a config at all."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgpo_async.config import RunConfig, load_config
from pgpo_async.config.document import read_document
from pgpo_async.config.issues import Place
from pgpo_async.contracts import ConfigError

SCALARS = [
    ("1e-6", 1e-6),
    ("1E6", 1e6),
    (".5", 0.5),
    ("5.", 5.0),
    ("-.inf", -math.inf),
    ("017", 17),
    ("+3", 3),
    ("0o17", "0o17"),
    ("0x1F", "0x1F"),
    ("1:30", "1:30"),
    ("1_000", "1_000"),
    ("2024-01-01", "2024-01-01"),
    ("1.2.3", "1.2.3"),
    ("1e", "1e"),
    ("no", "no"),
    ("Yes", "Yes"),
    ("on", "on"),
    ("OFF", "OFF"),
    ("y", "y"),
    ("True", True),
    ("false", False),
    ("tRue", "tRue"),
    ("~", None),
    ("Null", None),
    ("'1'", "1"),
    ('"null"', "null"),
    ("", None),
    ("[1, no, 1e-6]", [1, "no", 1e-6]),
    ("{a: {1: x}, on: ~}", {"a": {"1": "x"}, "on": None}),
]


def nowhere(line: int, column: int) -> Place:
    return Place(source=0, line=line, column=column, label="")


@pytest.mark.parametrize(("text", "expected"), SCALARS)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text, expected):
    document = read_document(text, nowhere)
    assert document.issues == []
    assert document.value == expected
    assert type(document.value) is type(expected)


@settings(max_examples=50, deadline=None)
@given(st.floats())
def test_every_float_is_read_back_from_how_python_writes_it(number):
    text = repr(number).replace("inf", ".inf").replace("nan", ".nan")
    value = read_document(text, nowhere).value
    assert value == number or (math.isnan(value) and math.isnan(number))


@settings(max_examples=50, deadline=None)
@given(st.text())
def test_no_text_escapes_as_another_exception(text):
    document = read_document(text, nowhere)
    assert all(issue.message for issue in document.issues)


BROKEN = [
    ("- 1", ["c.yaml:1:1: must be a mapping of sections, got a list"]),
    ("hello", ["c.yaml:1:1: must be a mapping of sections, got 'hello' (a string)"]),
    ("name: a\nname: b", ["c.yaml:2:1: name: duplicate key, first at line 1 column 1"]),
    (
        "train:\n  max_lag: 1\n  num_steps: 2\n  'max_lag': 1",
        ["c.yaml:4:3: train.max_lag: duplicate key, first at line 2 column 3"],
    ),
    ("<<: {a: 1}", ["c.yaml:1:1: merge key `<<` is not supported, write the values out"]),
    ("a: &x 1\nb: *x", ["c.yaml:2:4: not valid YAML: alias `*x` is not supported, write the value out"]),
    ("name: !!str 5", ["c.yaml:1:7: name: tags (`!...`) are not supported"]),
    ("train: !!python/object:x {}", ["c.yaml:1:8: train: tags (`!...`) are not supported"]),
    ("? [a]\n: 1", ["c.yaml:1:3: a key must be text, got a list or a mapping"]),
    ("seed: " + "1" * 5000, ["c.yaml:1:7: seed: is too long for a number"]),
    ("[\n" * 3000, ["c.yaml:1:1: nested too deeply"]),
    ("name: \x01", ["c.yaml:1:7: not valid YAML: control character U+0001"]),
    (
        "train:\n\tnum_steps: 1",
        [
            "c.yaml:2:1: not valid YAML: found character '\\t' that cannot start any token "
            "(indent with spaces, not with tabs)"
        ],
    ),
    (
        "name: a\n---\nname: b",
        ["c.yaml:2:1: not valid YAML: expected a single document in the stream, but found another document"],
    ),
    (
        "train: {num_steps: 1\nname: x",
        [
            "c.yaml:2:5: not valid YAML: expected ',' or '}', but got ':' "
            "(while parsing a flow mapping that starts at line 1)"
        ],
    ),
    (b"name: a\nseed: \xff", ["c.yaml:2:7: must be UTF-8 text, got byte 0xff"]),
]


@pytest.mark.parametrize(("text", "expected"), BROKEN)
def test_what_is_not_a_config_is_told_with_its_place(issues, text, expected):
    assert issues(text) == expected


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "{}", "\ufeffseed: 0"])
def test_an_empty_file_is_the_defaults(load, text):
    assert load(text) == RunConfig()


def test_numbers_with_an_exponent_are_numbers(load):
    assert load(
        "learner: {optimizer: {lr: 1e-6}}", "algorithm.shaper.params.tau=2e-1"
    ) == RunConfig.model_validate(
        {"learner": {"optimizer": {"lr": 1e-6}}, "algorithm": {"shaper": {"params": {"tau": 0.2}}}}
    )


def test_overrides_are_laid_over_the_file_and_the_later_wins(load):
    config = load(
        "train: {num_steps: 7, max_lag: 1}\ngenerator: {engine: {a: 1, b: 2}}",
        "train.max_lag=3",
        "train.max_lag=4",
        "generator.engine.b={c: [1, no]}",
        "model.min_pixels=~",
        "data.instruction=''",
    )
    assert (config.train.num_steps, config.train.max_lag) == (7, 4)
    assert config.generator.engine == {"a": 1, "b": {"c": [1, "no"]}}
    assert config.model.min_pixels is None
    assert config.data.instruction == ""


def test_an_override_mends_what_the_file_has_wrong(load):
    assert load("train: {max_lag: -1}", "train.max_lag=1").train.max_lag == 1


def test_files_that_cannot_be_read_are_told_in_one_line(tmp_path):
    (tmp_path / "local.yaml").write_text("")
    cases = {
        tmp_path / "locale.yaml": f"no such file, did you mean {tmp_path}/local.yaml?",
        tmp_path / "none" / "x.yaml": "no such file",
        tmp_path: "must be a YAML file, got a folder",
        tmp_path / "local.yaml" / "x.yaml": "cannot be read: Not a directory",
    }
    for path, expected in cases.items():
        with pytest.raises(ConfigError) as caught:
            load_config(path)
        assert caught.value.issues == (f"{path}: {expected}",)
