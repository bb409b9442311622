"""What a pass of the policy keeps: activations, and the output layer's slices. In numbers, not bytes, where
they have the model's precision.

By the layers as `policy.elementwise`, `policy.attention` and `policy.logprobs` run them. Pure.
"""

from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.planning.model_shape import ModelShape
from pgpo_async.orchestration.planning.workload import Workload, num_passes

SLICE_ELEMENTS = {True: 1 << 26, False: 1 << 22}
"""Of `policy.logprobs`, on a GPU and off one."""
_SLICES = 3
"""Logits, their probabilities, their gradient; in float32."""


def layer_numbers(shape: ModelShape) -> int:
    """What a text layer keeps of one token for its backward pass.

    Inputs and outputs of two norms; query and key, before norms of their own, too, where there are such;
    value, and what attention makes of them; gate, up, their product.
    """
    query, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    normed = query + kv if shape.tower.model_type == "qwen3_vl" else 0
    return 4 * shape.hidden + 2 * query + 2 * kv + normed + 3 * shape.intermediate


def block_numbers(shape: ModelShape) -> int:
    """What a block of the tower keeps of one patch: as a layer, query and key before and after rotation."""
    tower = shape.tower
    return 10 * tower.hidden + (2 if tower.model_type == "qwen3_vl" else 3) * tower.intermediate


def training_numbers(config: RunConfig, shape: ModelShape, work: Workload) -> float:
    """Numbers that the largest micro-batch keeps on one rank until its backward pass has used them."""
    # A response is never cut: with its prompt it may be more than the budget.
    longest = config.data.max_prompt_tokens + config.generation.max_response_tokens
    passes = num_passes(config)
    tokens = passes * max(config.learner.micro_batch_tokens // passes, longest)
    patches = tokens * _image_share(work) * shape.tower.patches_per_token
    layer, block, tower = layer_numbers(shape), block_numbers(shape), shape.tower
    if config.learner.activation_checkpointing:
        # Each layer's input, and one layer as it is computed again, with its gradients.
        text = tokens * (shape.layers * shape.hidden + 2 * layer)
        images = patches * (tower.depth * tower.hidden + 2 * block)
    else:
        text, images = tokens * shape.layers * layer, patches * tower.depth * block
    return text + (
        images if config.model.train_vision_tower and not config.model.lora.rank else patches * block
    )


def scoring_numbers(config: RunConfig, shape: ModelShape, work: Workload) -> float:
    """Numbers that a pass without gradient holds: one layer's, of the text model or of the tower."""
    tokens = max(
        config.scorer.pass_tokens, config.data.max_prompt_tokens + config.generation.max_response_tokens
    )
    patches = tokens * _image_share(work) * shape.tower.patches_per_token
    return tokens * shape.hidden + max(tokens * layer_numbers(shape), patches * block_numbers(shape))


def output_bytes(shape: ModelShape, *, on_gpu: bool) -> int:
    """Bytes of the slices of logits that the output layer holds at once."""
    return 4 * _SLICES * max(SLICE_ELEMENTS[on_gpu], shape.vocabulary)


def _image_share(work: Workload) -> float:
    return work.image_tokens / work.group_tokens
