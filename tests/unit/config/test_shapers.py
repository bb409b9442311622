"""The config's idea of a shaper is that of the algorithms."""

import inspect
from typing import get_args

import pytest
from pydantic import ValidationError

from pgpo_async.algorithms.shaping import SHAPERS, make_shaper, pgpo_weights
from pgpo_async.config.shapers import SHAPER_PARAMS, ShaperConfig, ShaperName


def test_every_shaper_has_its_config_and_builds_from_it():
    assert set(get_args(ShaperName)) == set(SHAPER_PARAMS) == set(SHAPERS)
    for name in SHAPERS:
        assert make_shaper(name, **ShaperConfig(name=name).parameters()).name == name


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
    ("param", "value"),
    [
        ("tau", -0.1),
        ("tau", 1.1),
        ("beta", -1.0),
        ("eps", 0.0),
        ("threshold_mode", "median"),
        ("low_weight_floor", -0.1),
        ("low_weight_floor", 1.1),
        ("min_spread", -1.0),
        ("max_weight", 0.5),
    ],
)
def test_config_and_algorithm_refuse_the_same_values(param, value):
    with pytest.raises(ValidationError):
        ShaperConfig(params={param: value})
    with pytest.raises(ValueError, match=param):
        make_shaper("pgpo", **{param: value})
