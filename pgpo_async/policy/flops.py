"""How much arithmetic a model's passes are: for packing, balance and a device's share of peak.

Owns the counts. They are of matrix products, a multiplication and an addition each counted; a backward pass
is twice its forward. Taken from the model before DeepSpeed divides its weights. Called by `model`, `bench`.
"""

from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelWork:
    """Floating-point operations of a forward pass, by what causes them."""

    token_flops: float
    """A token in the text model, attention scores apart."""
    pair_flops: float
    """A pair of text tokens of which one attends to the other."""
    image_token_flops: float
    """An image token in the tower, attention scores apart."""
    patch_pair_flops: float
    """A pair of patches in the tower's layers of full attention."""
    target_flops: float
    """A response token in the head."""

    @property
    def pair_cost(self) -> float:
        """A pair's cost in tokens."""
        return self.pair_flops / max(1.0, self.token_flops)

    def tower_flops(self, num_patches: int, *, patches_per_token: int) -> float:
        """An image in the tower; windowed layers' scores are left out, they are small."""
        tokens = num_patches / patches_per_token
        return tokens * self.image_token_flops + num_patches**2 * self.patch_pair_flops


def model_work(model: Any) -> ModelWork:
    """The counts of a Hugging Face model with a tower (`model.model.visual`), text model and `lm_head`."""
    text, tower, vision = model.model.language_model, model.model.visual, model.config.vision_config
    config = model.config.get_text_config()
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    width = getattr(vision, "embed_dim", None) or vision.hidden_size
    full = getattr(vision, "fullatt_block_indexes", None)
    full_layers = vision.depth if full is None else len(full)
    patches = vision.spatial_merge_size**2
    per_token = sum(_weights(part) for name, part in tower.named_children() if "merger" in name)
    per_patch = _weights(tower) - per_token
    return ModelWork(
        token_flops=2.0 * _weights(text.layers),
        pair_flops=4.0 * config.num_hidden_layers * config.num_attention_heads * head_dim,
        image_token_flops=2.0 * (patches * per_patch + per_token),
        patch_pair_flops=4.0 * full_layers * width,
        target_flops=2.0 * config.vocab_size * config.hidden_size,
    )


def _weights(module: nn.Module) -> int:
    """Elements of weight matrices; tables that are looked up are none."""
    tables = {id(part.weight) for part in module.modules() if isinstance(part, nn.Embedding)}
    return sum(p.numel() for p in module.parameters() if p.ndim > 1 and id(p) not in tables)
