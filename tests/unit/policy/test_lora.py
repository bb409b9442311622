"""Adapters in the policy: what they compute, what gets a gradient, what is published and what peft reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText

from pgpo_async.config.inputs import LoraConfig
from pgpo_async.policy.inputs import Collator, PromptGroup
from pgpo_async.policy.loading import load_policy, load_processor
from pgpo_async.policy.lora import write_adapters
from pgpo_async.policy.model import PolicyModel
from pgpo_async.policy.passes import score_groups

LORA = LoraConfig(rank=3, alpha=4)
LAYERS = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


def adapted(folder: Path, lora: LoraConfig = LORA, *, trained: bool = True, **options: Any) -> PolicyModel:
    """A policy with adapters; `trained` ones are random, so that they add something."""
    torch.manual_seed(1)
    policy = load_policy(str(folder), **{"dtype": "float32", **options}, lora=lora)
    if trained:
        with torch.no_grad():
            for _, parameter in policy.published_parameters():
                parameter.normal_(std=0.2)
    return policy


def merged_weights(policy: PolicyModel) -> dict[str, torch.Tensor]:
    return policy.merged({name: parameter.detach() for name, parameter in policy.weights_and_adapters()})


def merged_folder(policy: PolicyModel, folder: Path, made: Path) -> Path:
    """The policy's model without adapters, as a run exports it."""
    policy.model.save_pretrained(made, state_dict=merged_weights(policy))
    load_processor(str(folder)).save_pretrained(made)
    return made


def both_passes(policy: PolicyModel, collator: Collator, groups: list[PromptGroup]) -> np.ndarray[Any, Any]:
    scores = score_groups(policy, collator, groups, pass_tokens=1 << 20, passes="sighted_blind")
    rows = [row for score in scores for rows in (score.sighted, score.blind) for row in rows]
    return np.concatenate(rows)


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen2_vl", "qwen3_vl"])
def folder(request: pytest.FixtureRequest, make_model_folder: Callable[..., Path]) -> Path:
    return make_model_folder(request.param)


@pytest.fixture
def own_collator(folder: Path) -> Collator:
    return Collator(load_processor(str(folder)), load_policy(str(folder), dtype="float32").config)


def test_as_they_begin_adapters_change_no_log_prob_at_all(
    model_folder: Path, policy: PolicyModel, collator: Collator, mixed_groups: list[PromptGroup]
) -> None:
    begun = adapted(model_folder, trained=False)
    expected = both_passes(policy, collator, mixed_groups)
    np.testing.assert_array_equal(both_passes(begun, collator, mixed_groups), expected)


def test_both_passes_are_those_of_transformers_on_the_merged_model(
    folder: Path, own_collator: Collator, mixed_groups: list[PromptGroup], tmp_path: Path, reference: Any
) -> None:
    policy = adapted(folder)
    plain = reference(merged_folder(policy, folder, tmp_path / "merged"))
    scores = score_groups(policy, own_collator, mixed_groups, pass_tokens=1 << 20, passes="sighted_blind")
    with torch.inference_mode():
        for name, hide in (("sighted", False), ("blind", True)):
            rows = [row for score in scores for row in getattr(score, name)]
            for ours, theirs in zip(rows, plain(mixed_groups, hide=hide), strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-5)
    base = both_passes(load_policy(str(folder), dtype="float32"), own_collator, mixed_groups)
    assert np.abs(both_passes(policy, own_collator, mixed_groups) - base).max() > 0.1


def test_gradients_are_those_that_the_merged_weights_formula_gives(
    folder: Path, own_collator: Collator, mixed_groups: list[PromptGroup], tmp_path: Path
) -> None:
    """With W' = W + s B A and G = d loss / d W': d loss / d A = s B^T G, d loss / d B = s G A^T."""
    policy = adapted(folder).train()
    whole = load_policy(str(merged_folder(policy, folder, tmp_path / "merged")), dtype="float32").train()
    inputs = own_collator(mixed_groups, dummy_image=True)
    factors = torch.randn(len(inputs.target_ids), generator=torch.Generator().manual_seed(2))
    for model in (policy, whole):
        (model(inputs, 0.8).logprobs * factors).sum().backward()
    gradients = {name: parameter.grad for name, parameter in whole.hf_named_parameters()}
    parts = dict(policy.published_parameters())
    layers = {name.rpartition(".lora_")[0] for name in parts}
    assert {layer.rpartition(".")[2] for layer in layers} == LAYERS
    for layer in layers:
        down, up = parts[f"{layer}.lora_A.weight"], parts[f"{layer}.lora_B.weight"]
        gradient = gradients[f"{layer}.weight"]
        for found, expected in (
            (down.grad, LORA.scale * up.detach().T @ gradient),
            (up.grad, LORA.scale * gradient @ down.detach().T),
        ):
            largest = float(expected.abs().max())
            assert largest > 1e-3, f"{layer} is used"
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * largest)
    untouched = [name for name, parameter in policy.hf_named_parameters() if parameter.grad is not None]
    assert untouched == []


def test_nothing_but_adapters_of_the_language_model_is_trained(folder: Path) -> None:
    policy = adapted(folder, train_vision_tower=True)
    trained = {name for name, parameter in policy.named_parameters() if parameter.requires_grad}
    assert len(trained) == len(dict(policy.published_parameters()))
    assert all(".language_model.layers." in name and ".lora_" in name for name in trained)


def test_without_its_adapters_a_policy_is_the_model_that_was_read_and_only_meanwhile(
    model_folder: Path, policy: PolicyModel, collator: Collator, mixed_groups: list[PromptGroup]
) -> None:
    trained = adapted(model_folder)
    before = both_passes(trained, collator, mixed_groups)
    expected = both_passes(policy, collator, mixed_groups)
    with trained.without_adapters():
        np.testing.assert_array_equal(both_passes(trained, collator, mixed_groups), expected)
    np.testing.assert_array_equal(both_passes(trained, collator, mixed_groups), before)


def test_only_the_layers_asked_for_get_adapters(model_folder: Path) -> None:
    policy = adapted(model_folder, LoraConfig(rank=2, target_modules=("v_proj", "down_proj")))
    names = [name for name, _ in policy.published_parameters()]
    assert len(names) == 2 * 2 * 2, "two layers of two kinds, A and B"
    assert {name.split(".")[-3] for name in names} == {"v_proj", "down_proj"}
    shapes = {tuple(name.split(".")[-3:-1]): tuple(p.shape) for name, p in policy.published_parameters()}
    assert shapes == {
        ("v_proj", "lora_A"): (2, 64),
        ("v_proj", "lora_B"): (32, 2),
        ("down_proj", "lora_A"): (2, 96),
        ("down_proj", "lora_B"): (64, 2),
    }


@pytest.mark.parametrize("tied", [True, False])
def test_a_state_dict_holds_the_adapters_alone_and_the_model_keeps_its_names(
    make_model_folder: Callable[..., Path], tied: bool
) -> None:
    folder = make_model_folder(tied=tied)
    policy, plain = adapted(folder), load_policy(str(folder), dtype="float32")
    assert policy.state_names == plain.state_names
    assert len(policy.state_dict()) == len(dict(policy.published_parameters()))
    assert all(".lora_" in name for name in policy.state_dict())
    assert merged_weights(policy).keys() == plain.hf_state_dict().keys()


def test_adapters_are_in_the_models_precision_and_merged_in_float32(model_folder: Path) -> None:
    policy = adapted(model_folder, dtype="bfloat16")
    parts = dict(policy.weights_and_adapters())
    assert {parameter.dtype for parameter in parts.values()} == {torch.bfloat16}
    name = "model.language_model.layers.0.mlp.up_proj"
    down, up = (parts[f"{name}.lora_{part}.weight"].double() for part in "AB")
    exact = parts[f"{name}.weight"].double() + 4 / 3 * up @ down
    torch.testing.assert_close(
        merged_weights(policy)[f"{name}.weight"], exact.bfloat16(), rtol=2**-7, atol=1e-6
    )


def test_peft_reads_the_adapters_that_were_written(
    folder: Path, own_collator: Collator, mixed_groups: list[PromptGroup], tmp_path: Path
) -> None:
    from peft import PeftModel

    policy = adapted(folder)
    write_adapters(
        tmp_path, {name: p.detach() for name, p in policy.weights_and_adapters()}, LORA, "the-base"
    )
    base = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
    read = PeftModel.from_pretrained(base, tmp_path).eval()
    assert read.peft_config["default"].base_model_name_or_path == "the-base"
    merged = read.merge_and_unload().state_dict()
    for name, tensor in merged_weights(policy).items():
        torch.testing.assert_close(merged[name], tensor, rtol=1e-6, atol=1e-6)
    assert {path.name for path in tmp_path.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
