"""A learner that trains adapters, on the demo model, with real DeepSpeed in Ray actors: one rank and two.

Both are started once: another stage or precision is another run of theirs.
"""

import os

os.environ.update(RAY_ENABLE_UV_RUN_RUNTIME_ENV="0", RAY_AUTH_MODE="disabled")

import pytest
import ray
import torch
from peft import PeftModel
from safetensors.torch import load_file
from support.learner_probe import (
    MODEL,
    WriteTo,
    as_leases,
    ask_ranks,
    learner_config,
    scored_demo_group,
    start_ranks,
)
from transformers import AutoModelForImageTextToText

from pgpo_async.config.inputs import LoraConfig
from pgpo_async.contracts import WeightError
from pgpo_async.policy.inputs import Collator
from pgpo_async.policy.loading import load_policy, load_processor
from pgpo_async.policy.model_path import resolve_model_path

pytestmark = pytest.mark.timeout(600)

ABOUT = {"version": 7, "state": {}, "value": None}


def lora_config(ranks, stage, dtype="float32", **lora):
    config = learner_config(ranks, stage, dtype)
    model = config.model.model_copy(update={"lora": LoraConfig(**{"rank": 4, **lora})})
    return config.model_copy(update={"model": model})


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    torch.set_num_threads(1)
    ray.init(num_cpus=4, include_dashboard=False, object_store_memory=200 << 20, log_to_driver=False)
    folder = tmp_path_factory.mktemp("published")
    found = {ranks: start_ranks(lora_config(ranks, 1), folder / str(ranks)) for ranks in (1, 2)}
    yield found
    for group in found.values():
        group.kill()
    ray.shutdown()


@pytest.fixture(scope="module")
def batches():
    policy, processor = load_policy(MODEL, dtype="float32"), load_processor(MODEL)
    collator = Collator(processor, policy.config)
    made = [scored_demo_group(i, i % 3 != 1, policy, processor, collator) for i in range(6)]
    return [made[:3], made[3:], made[1:4], made[2:5]]


def begin(groups, ranks, folder, stage, dtype="float32", **lora):
    """A fresh model on the same ranks."""
    groups[ranks].renew(lora_config(ranks, stage, dtype, **lora), WriteTo(str(folder / f"published-{ranks}")))
    return groups[ranks]


def train(group, batches, steps):
    found = [group.train_step(as_leases(batches[step]), step) for step in steps]
    return [metrics[name] for metrics in found for name in ("loss", "grad_norm")]


def module_names(file):
    content = torch.load(file, weights_only=False)
    return list(content["module"]) if "module" in content else []


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.mark.parametrize(
    ("stage", "dtype"), [(1, "float32"), (2, "float32"), (3, "float32"), (1, "bfloat16"), (3, "bfloat16")]
)
def test_a_checkpoint_of_the_adapters_alone_is_all_that_a_run_needs_on_any_number_of_ranks(
    groups, batches, tmp_path, stage, dtype
):
    folder = tmp_path / "checkpoints"
    two = begin(groups, 2, tmp_path / "first", stage, dtype)
    train(two, batches, [0, 1])
    two.save(str(folder), "step-2", 2, **ABOUT)
    saved = ask_ranks(two, "training_state")
    assert all(".lora_" in name for name in saved.keys() - {"steps"})
    expected = train(two, batches, [2, 3])

    files = sorted((folder / "step-2").rglob("*.pt"))
    held = [name for file in files for name in module_names(file)]
    assert held
    assert all(".lora_" in name for name in held)
    whole = sum(p.numel() for _, p in load_policy(MODEL, dtype="float32").hf_named_parameters())
    assert sum(file.stat().st_size for file in files) < 0.3 * 3 * 4 * whole, "weights and two moments"

    again = begin(groups, 2, tmp_path / "again", stage, dtype)
    assert again.load(str(folder)).step == 2
    # Moments can only be asked for after a step; the steps to come depend on them.
    assert_equal(
        {f"{name}:fp32": value for name, value in ask_ranks(again, "weights").items()},
        {name: value for name, value in saved.items() if name.endswith(":fp32")},
    )
    assert train(again, batches, [2, 3]) == expected

    one = begin(groups, 1, tmp_path / "one", stage, dtype)
    assert one.load(str(folder)).world_size == 2
    assert_equal(ask_ranks(one, "training_state"), saved)
    found = train(one, batches, [2, 3])
    if dtype == "float32":  # ranks cut a step into other sums
        assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("stage", [1, 3])
def test_only_adapters_are_published_and_the_exports_are_the_same_model(groups, batches, tmp_path, stage):
    two = begin(groups, 2, tmp_path, stage)
    train(two, batches, [0, 1])
    two.publish(1)
    two.flush(60.0)
    sent = two.publish(2)
    assert sent["published_bytes"] < 0.1 * sent["weight_bytes"]
    published = {}
    for file in (tmp_path / "published-2" / "1").iterdir():
        published |= load_file(file)
    trained = ask_ranks(two, "weights")
    assert_equal(published, trained)
    assert all(".language_model.layers." in name for name in published)

    two.export_hf(str(tmp_path / "model"))
    whole = dict(load_policy(str(tmp_path / "model"), dtype="float32").hf_named_parameters())
    base = dict(load_policy(MODEL, dtype="float32").hf_named_parameters())
    adapted = {name.rpartition(".lora_")[0] + ".weight" for name in published}
    changed = {name for name, weight in base.items() if not torch.equal(whole[name], weight)}
    assert changed == adapted, "nothing but what has adapters, and all of that"
    plain = AutoModelForImageTextToText.from_pretrained(resolve_model_path(MODEL), dtype=torch.float32)
    peft = PeftModel.from_pretrained(plain, tmp_path / "adapter").merge_and_unload()
    for name, weight in peft.named_parameters():
        torch.testing.assert_close(whole[name], weight, rtol=1e-6, atol=1e-6)


def test_a_checkpoint_of_other_adapters_is_refused(groups, batches, tmp_path):
    one = begin(groups, 1, tmp_path / "a", 1)
    one.save(str(tmp_path / "checkpoints"), "step-0", 0, **ABOUT)
    one = begin(groups, 1, tmp_path / "b", 1, target_modules=("q_proj",))
    with pytest.raises(WeightError, match=r"must hold the adapters that model.lora asks for, differs in"):
        one.load(str(tmp_path / "checkpoints"))
