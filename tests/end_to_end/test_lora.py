"""A run that trains adapters, from its start to its exports: real Ray, vLLM, DeepSpeed, the tiny Qwen2.5-VL.

One short run of the demo, whose processes are kept to ask the engine what it holds.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import ray
import torch
from peft import PeftModel
from rich.console import Console
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from pgpo_async.config import load_config
from pgpo_async.export.command import export_run
from pgpo_async.learner import checkpoint
from pgpo_async.orchestration.run import Run
from pgpo_async.orchestration.run_folder import RunFolder
from pgpo_async.policy.loading import load_policy
from pgpo_async.policy.model_path import resolve_model_path

NUM_STEPS = 8
GROUPS_PER_STEP = 8


@pytest.fixture(scope="module")
def ran(tmp_path_factory, local_ray_environment):
    overrides = [
        f"output_dir={tmp_path_factory.mktemp('lora') / 'runs'}",
        "model.lora.rank=4",
        "learner.optimizer.lr=3e-3",
        "algorithm.kl_coef=1e-3",
        "algorithm.filter.enabled=false",
        f"train.num_steps={NUM_STEPS}",
        f"train.groups_per_step={GROUPS_PER_STEP}",
        "train.save_every=2",
        "generator.prompts_in_flight=16",
        "evaluation.num_prompts=0",
    ]
    config = load_config("configs/local.yaml", overrides)
    folder = RunFolder(config)
    run = Run(config, folder, Console(), keep=True)
    try:
        assert run.run() == 0
        summary = json.loads((folder.path / "summary.json").read_text())
        lines = (folder.path / "metrics.jsonl").read_text().splitlines()
        steps = [json.loads(line) for line in lines]
        yield SimpleNamespace(folder=folder, summary=summary, steps=steps, cluster=run.kept)
    finally:
        if run.kept is not None:
            assert run.kept.stop() == []


def test_generators_and_scorers_follow_the_adapters_and_all_agree_at_lag_0(ran):
    summary = ran.summary
    assert summary["status"] == "completed"
    assert summary["accounting_balanced"]
    assert summary["accounting"]["trained"] == NUM_STEPS * GROUPS_PER_STEP
    assert summary["weight_versions_loaded"] >= 2
    assert summary["rollouts_with_several_versions"] > 0, "requests in flight went on with a newer adapter"
    assert summary["mismatch_kl"] < 1e-6
    # 0 where a step had no response that one version both sampled and scored; otherwise rounding.
    fresh = [step["learner/fresh_mismatch_kl"] for step in ran.steps if step["version"] > 2]
    assert 0 < max(fresh) < 1e-4


def test_what_is_published_is_a_tenth_of_the_model_at_most(ran):
    whole = load_policy("builtin:tiny-vlm", dtype="float32").hf_state_dict()
    assert ran.summary["weight_bytes"] == sum(tensor.nbytes for tensor in whole.values())
    assert 0 < ran.summary["published_bytes_max"] <= 0.1 * ran.summary["weight_bytes"]


def test_the_engine_holds_what_the_learner_published_and_that_is_what_was_exported(ran):
    (generator,) = ran.cluster.generators
    ray.get(generator.load_version.remote(NUM_STEPS), timeout=60)
    manifest, _ = ray.get(ran.cluster.store.pull.remote(NUM_STEPS), timeout=30)
    folder = Path("/dev/shm") / f"pgpo_async-{ran.folder.run_id}" / f"v{NUM_STEPS:08d}"
    held = ray.get(generator.weight_checksums.remote(str(folder)), timeout=60)
    assert held == manifest.tensor_checksums()
    exported = load_file(ran.folder.path / "adapter" / "adapter_model.safetensors")
    assert {name.removeprefix("base_model.model.") for name in exported} == set(held)
    (bucket,) = folder.glob("*.safetensors")
    for name, tensor in load_file(bucket).items():
        assert torch.equal(exported[f"base_model.model.{name}"], tensor), name
    assert any(tensor.any() for name, tensor in exported.items() if ".lora_B." in name), "it has learned"


def test_the_reference_of_the_kl_term_is_the_model_without_adapters(ran):
    values = [step["learner/reference_kl"] for step in ran.steps]
    assert abs(values[0]) < 1e-9, "as it begins the policy is its reference"
    assert values[-1] > 1e-6


def test_checkpoints_hold_no_frozen_weight(ran):
    found, problems = checkpoint.find(ran.folder.path / "checkpoints")
    assert found
    assert problems == ()
    for info in found:
        states = ran.folder.path / "checkpoints" / info.tag / "mp_rank_00_model_states.pt"
        content = torch.load(states, weights_only=True)
        assert all(".lora_" in name for name in content["module"])


def test_the_models_of_the_run_its_checkpoint_and_its_adapter_are_the_same(ran, tmp_path):
    def weights(model):
        return dict(model.named_parameters())

    def read(folder):
        return AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)

    run = ran.folder.path
    last = checkpoint.find(run / "checkpoints")[0][0]
    assert last.step == NUM_STEPS
    trained = weights(read(run / "model"))
    of_checkpoint = export_run(run, tmp_path / "checkpoint", checkpoint=last.tag)
    base = read(resolve_model_path("builtin:tiny-vlm"))
    with_adapter = PeftModel.from_pretrained(base, run / "adapter").merge_and_unload()
    for other in (weights(read(of_checkpoint.folder)), weights(with_adapter)):
        assert other.keys() == trained.keys()
        for name, weight in trained.items():
            torch.testing.assert_close(other[name], weight, rtol=1e-6, atol=1e-6)
