"""The config's idea of a shaper is that of the algorithms."""

import inspect

import pytest
from pydantic import ValidationError

from pgpo_async.algorithms.shaping import SHAPERS, make_shaper, pgpo_weights
from pgpo_async.config import dump_config
from pgpo_async.config.shapers import SHAPER_PARAMS, ShaperConfig


def test_every_shaper_has_its_config_and_builds_from_it():
    assert list(SHAPER_PARAMS) == list(SHAPERS)
    for name in SHAPERS:
        assert make_shaper(name, **ShaperConfig(name=name).parameters()) == make_shaper(name)


def test_pgpos_defaults_are_those_of_its_formula():
    parameters = inspect.signature(pgpo_weights).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    assert ShaperConfig().parameters() == defaults


def test_given_parameters_join_the_defaults_and_whole_numbers_become_floats():
    shaper = ShaperConfig(params={"tau": 1, "max_weight": 5})
    assert shaper.params == {"tau": 1.0, "max_weight": 5.0}
    assert shaper.parameters() == {**ShaperConfig().parameters(), "tau": 1.0, "max_weight": 5.0}
    assert type(shaper.parameters()["tau"]) is float


@pytest.mark.parametrize(
    ("shaper", "param", "values"),
    [
        ("pgpo", "tau", [-0.1, 1.1]),
        ("pgpo", "beta", [-1.0]),
        ("pgpo", "eps", [0.0]),
        ("pgpo", "threshold_mode", ["median"]),
        ("pgpo", "low_weight_floor", [-0.1, 1.1]),
        ("pgpo", "min_spread", [-1.0]),
        ("pgpo", "max_weight", [0.5]),
        ("vppo", "top_fraction", [0.0, 1.1]),
        ("vppo", "floor", [-0.1, 1.1]),
        ("vppo", "entropy_penalty", [-0.1]),
        ("vppo", "mask_probability", [-0.1, 1.1]),
        ("vppo", "mask_cell_px", [0]),
        ("papo", "gamma", [-0.1]),
        ("papo", "eta_masked", [-0.1]),
        ("papo", "eta", [-0.1]),
        ("papo", "mask_probability", [-0.1, 1.1]),
        ("papo", "mask_cell_px", [0]),
        ("tor", "top_fraction", [0.0, 1.1]),
        ("tor", "perception_weight", [-0.1, 1.1]),
        ("pepo", "alpha", [-0.1, 1.1]),
        ("pepo", "temperature", [0.0]),
    ],
)
def test_config_and_algorithm_refuse_the_same_values(shaper, param, values):
    for value in values:
        with pytest.raises(ValidationError):
            ShaperConfig(name=shaper, params={param: value})
        with pytest.raises(ValueError, match=param):
            make_shaper(shaper, **{param: value})


@pytest.mark.parametrize(
    ("shaper", "param", "values"),
    [
        ("vppo", "top_fraction", [1.0]),
        ("vppo", "floor", [0.0, 1.0]),
        ("vppo", "mask_probability", [0.0, 1.0]),
        ("papo", "gamma", [0.0]),
        ("tor", "top_fraction", [1.0]),
        ("tor", "perception_weight", [0.0, 1.0]),
        ("pepo", "alpha", [0.0, 1.0]),
    ],
)
def test_config_and_algorithm_take_the_ends_of_a_range(shaper, param, values):
    for value in values:
        parameters = ShaperConfig(name=shaper, params={param: value}).parameters()
        assert make_shaper(shaper, **parameters) == make_shaper(shaper, **{param: value})


def test_a_shaper_of_the_users_own_keeps_its_parameters_as_they_are(load):
    for name in ("mine.shapers:Mine", "./mine.py:Mine", "~/my shapers/mine.py:Mine"):
        params = {"tua": "any", "deep": {"list": [1, None]}}
        shaper = ShaperConfig(name=name, params=params)
        assert (shaper.name, shaper.params, shaper.parameters()) == (name, params, params)
    # Through a file and back; nothing is imported, so it need not exist.
    config = load('algorithm: {shaper: {name: "mine.shapers:Mine", params: {k: 3}}}')
    assert load(dump_config(config)) == config
    assert config.algorithm.shaper.parameters() == {"k": 3}
