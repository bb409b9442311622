"""Every shipped config is one that can be run: the paper's numbers, inputs, placement, memory, pace."""

import re
from pathlib import Path

import pytest

from pgpo_async.config import load_config
from pgpo_async.demo.tiny_vlm import tiny_vlm_path
from pgpo_async.orchestration.placement import NodeOffer, plan_placement
from pgpo_async.orchestration.planning.estimate import estimate
from pgpo_async.orchestration.planning.plan_inputs import group_size, model_size
from pgpo_async.orchestration.planning.planner import make_plan
from pgpo_async.orchestration.preflight import check_inputs

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = sorted(path.stem for path in (CONFIGS / "recipes").glob("qwen*.yaml"))
NAME = re.compile(r"(?P<model>.*-vl-\db)-(?P<method>\w+)-(?P<gpus>\d+)gpu")

PAPER = {
    "model.dtype": "bfloat16",
    "model.min_pixels": 200_704,
    "model.max_pixels": 1_003_520,
    "model.train_vision_tower": True,
    "data.max_prompt_tokens": 4096,
    "generation.group_size": 5,
    "generation.max_response_tokens": 2048,
    "generation.temperature": 1.0,
    "generation.top_p": 1.0,
    "reward.accuracy_weight": 0.9,
    "reward.format_weight": 0.1,
    "algorithm.advantage": "std",
    "algorithm.filter.enabled": True,
    "algorithm.filter.key": "accuracy",
    "algorithm.filter.low": 0.01,
    "algorithm.filter.high": 0.99,
    "algorithm.clip_low": 0.2,
    "algorithm.clip_high": 0.28,
    "algorithm.dual_clip": 3.0,
    "algorithm.kl_coef": 0.0,
    "algorithm.loss": "token_mean",
    "train.num_steps": 607,
    "train.groups_per_step": 128,
    "learner.optimizer.lr": 1e-6,
    "learner.optimizer.schedule": "constant",
    "learner.optimizer.warmup_steps": 0,
    "evaluation.samples_per_prompt": 8,
    "evaluation.temperature": 1.0,
}
"""Of ALGORITHMS section 6; 384 prompts at once are checked as slots."""
METHODS = {
    "pgpo": ("pgpo", {"tau": 0.4, "beta": 2.0, "mass_normalization": True}),
    "dapo": ("none", {}),
    "vppo": ("vppo", {"top_fraction": 0.4, "floor": 0.9, "entropy_penalty": 0.06, "mask_probability": 0.5}),
    "papo": ("papo", {"gamma": 0.01, "eta_masked": 0.03, "eta": 0.03, "mask_probability": 0.6}),
}
MODELS = {
    "qwen2.5-vl-3b": "Qwen/Qwen2.5-VL-3B-Instruct",
    "qwen2.5-vl-7b": "Qwen/Qwen2.5-VL-7B-Instruct",
    "qwen3-vl-8b": "Qwen/Qwen3-VL-8B-Instruct",
}


def recipe(name, *overrides):
    path = CONFIGS / ("cluster.yaml" if name == "cluster" else f"recipes/{name}.yaml")
    return load_config(path, overrides)


def parts(name):
    return NAME.fullmatch(name).groupdict()


def value(config, field):
    for key in field.split("."):
        config = getattr(config, key)
    return config


def other_than_paper(config):
    return {field: value(config, field) for field, wanted in PAPER.items() if value(config, field) != wanted}


def test_there_is_a_recipe_for_each_method_model_and_size():
    asked = {f"{model}-pgpo-8gpu" for model in MODELS} | {f"{model}-pgpo-24gpu" for model in MODELS}
    asked |= {f"qwen2.5-vl-{size}-{method}-8gpu" for size in ("3b", "7b") for method in METHODS}
    assert set(RECIPES) == asked | {"qwen2.5-vl-3b-pgpo-2gpu"}


@pytest.mark.parametrize("name", [*RECIPES, "cluster", "paper"])
def test_a_recipe_has_the_papers_hyperparameters(name):
    assert other_than_paper(recipe(name)) == {}


def test_a_changed_hyperparameter_is_noticed():
    changed = recipe(RECIPES[0], "learner.optimizer.lr=2e-6", "generation.group_size=8")
    assert other_than_paper(changed) == {"learner.optimizer.lr": 2e-6, "generation.group_size": 8}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_what_its_name_says(name):
    config, said = recipe(name), parts(name)
    shaper, params = METHODS[said["method"]]
    assert (config.name, config.model.path) == (name, MODELS[said["model"]])
    assert config.algorithm.shaper.name == shaper
    assert params.items() <= config.algorithm.shaper.parameters().items()
    assert plan_placement(config).total("GPU") == int(said["gpus"])
    assert config.ray.address == ("auto" if said["gpus"] == "24" else None)


@pytest.mark.parametrize("name", RECIPES)
def test_prompts_at_once_are_the_papers_rollout_batch_or_the_file_says_why_not(name):
    config, text = recipe(name), (CONFIGS / f"recipes/{name}.yaml").read_text()
    assert config.warnings() == ()
    assert config.max_slots == 384 or "# Not as in the paper" in text


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_how_it_is_started_and_what_it_was_tried_on(name):
    text = (CONFIGS / f"recipes/{name}.yaml").read_text()
    assert f"launch configs/recipes/{name}.yaml" in text
    assert "# Tried on: " in text
    assert "Evaluation: " in text


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_fits_nodes_of_8_gpus(name):
    num_nodes = -(-int(parts(name)["gpus"]) // 8)
    gpus = min(8.0, float(parts(name)["gpus"]))
    plan_placement(recipe(name)).check([NodeOffer(resources={"CPU": 64.0, "GPU": gpus})] * num_nodes)


@pytest.mark.parametrize("name", [*RECIPES, "cluster"])
def test_inputs_are_found_once_model_and_data_are_on_the_machine(name):
    here = ["data.source=builtin:shapes", "evaluation.source=builtin:shapes", "metrics.port=null"]
    check_inputs(recipe(name, f"model.path={tiny_vlm_path()}", *here))


@pytest.mark.parametrize("name", [*RECIPES, "cluster"])
def test_a_recipe_fits_its_gpus_and_its_pace_can_be_told(name):
    config = recipe(name)
    found = estimate(config)
    assert found.problems == ()
    assert all(0.1 < device.num_bytes / found.gpu.memory_bytes < 0.95 for device in found.devices)
    assert sum(device.num_gpus for device in found.devices) == plan_placement(config).total("GPU")
    model = model_size(config, None, None)
    plan = make_plan(config, found.stages.times, group=group_size(config, None), model=model, estimate=found)
    slowest_s = max(plan.result.busy_s.values())
    assert slowest_s <= plan.result.step_s < 3 * slowest_s
    assert not [text for text in plan.warnings if "busy" in text or "does not fit" in text]
    figures = plan.as_json()
    assert set(figures["memory_by_role"]) == {"generator", "learner"} | (
        {"scorer"} if config.uses_scorers else set()
    )
    assert figures["estimated_times"]["learn_s"] == found.stages.times.learn_s


def test_less_memory_is_told_with_a_field_that_mends_it():
    small = estimate(recipe("qwen2.5-vl-7b-pgpo-8gpu"), gpu="l40s")
    (learner,) = [text for text in small.problems if text.startswith("learner")]
    assert "do not fit the 44 GiB of l40s; with learner.offload_optimizer=true" in learner
    mended = recipe("qwen2.5-vl-7b-pgpo-8gpu", "learner.offload_optimizer=true")
    assert estimate(mended, gpu="l40s").problems == ()
