"""What the planner counts of a model it has not loaded is what a loaded one has, does and keeps."""

import json
from collections.abc import Callable

import pytest
import torch

from pgpo_async.config.inputs import LoraConfig
from pgpo_async.orchestration.planning.activations import block_numbers, layer_numbers
from pgpo_async.orchestration.planning.model_shape import ModelShape
from pgpo_async.policy.loading import load_policy


def shape_of(folder):
    return ModelShape.from_config(json.loads((folder / "config.json").read_text()))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_weights_and_arithmetic_are_those_of_the_loaded_model(make_model_folder, kind, tied):
    folder = make_model_folder(kind, tied=tied)
    shape, policy = shape_of(folder), load_policy(str(folder), dtype="float32")
    assert shape.num_weights == sum(p.numel() for p in policy.parameters())
    assert shape.tower_weights == sum(p.numel() for p in policy.model.model.visual.parameters())
    work = policy.work
    assert (shape.token_flops, shape.pair_flops) == (work.token_flops, work.pair_flops)
    assert shape.target_flops == work.target_flops
    assert shape.image_flops(16) == work.tower_flops(64, patches_per_token=4)


@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_adapters_are_as_large_as_those_of_the_loaded_model(make_model_folder, kind):
    folder, lora = make_model_folder(kind), LoraConfig(rank=3)
    policy = load_policy(str(folder), dtype="float32", lora=lora)
    trained = sum(p.numel() for p in policy.parameters() if p.requires_grad)
    assert shape_of(folder).adapter_weights(lora.rank, lora.target_modules) == trained > 0


def saved_numbers(policy, run: Callable[[], torch.Tensor]) -> int:
    """Numbers in memory that a backward pass will want, the weights apart."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in policy.parameters()}
    saved: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes() // 4
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        kept = run()
    assert kept.requires_grad
    return sum(saved.values())


@pytest.mark.parametrize("kind", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_activations_are_what_autograd_keeps(make_model_folder, collator, make_group, make_image, kind):
    folder = make_model_folder(kind)
    shape, policy = shape_of(folder), load_policy(str(folder), dtype="float32").train()
    inputs = collator([make_group([100], [400, 300])])
    text = saved_numbers(policy, lambda: policy(inputs).logprobs.sum())
    layers = inputs.input_ids.shape[1] * shape.layers * layer_numbers(shape)
    # Beyond the layers: what the norm and the output layer keep, angles of the rotary positions.
    assert 0.95 * layers < text < 1.25 * layers
    seen = collator([make_group([make_image(0, 280, 280), 10], [10])])
    tower, patches = policy.model.model.visual, len(seen.pixel_values)
    images = saved_numbers(policy, lambda: tower(seen.pixel_values, grid_thw=seen.image_grids).pooler_output)
    blocks = patches * shape.tower.depth * block_numbers(shape)
    # Beyond the blocks: the pixels, and what the mergers keep.
    assert blocks < images - seen.pixel_values.numel() < 1.5 * blocks


def test_with_checkpointing_a_layer_keeps_its_input(make_model_folder, collator, make_group):
    folder = make_model_folder()
    shape = shape_of(folder)
    policy = load_policy(str(folder), dtype="float32", activation_checkpointing=True).train()
    inputs = collator([make_group([100], [400, 300])])
    text = saved_numbers(policy, lambda: policy(inputs).logprobs.sum())
    layers = inputs.input_ids.shape[1] * shape.layers * shape.hidden
    assert layers < text < 3 * layers
