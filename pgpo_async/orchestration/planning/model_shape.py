"""How large a vision-language model is, from the numbers in its config: weights, arithmetic, cache.

Owns the counts of the Qwen-VL family (`policy.loading.SUPPORTED_MODELS`), exact to the last bias, without
torch. `policy.flops` counts the same arithmetic of a model that is loaded. Pure. Read by everything here that
estimates.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MODEL_TYPES = ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")
_CHANNELS, _FRAMES = 3, 2
"""Of a patch: colours, and the frames that one patch spans."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TowerShape:
    """A vision tower: `depth` blocks of width `hidden`, then mergers of `merge` x `merge` patches."""

    model_type: str
    depth: int
    hidden: int
    intermediate: int
    patch: int
    merge: int
    full_attention: int
    """Blocks in which every patch attends to every other; the rest attend within windows."""
    extra_mergers: int
    positions: int
    """Rows of a learned table of positions; 0 for none."""

    @property
    def pixels_per_token(self) -> int:
        """Image area that becomes one token of the text model."""
        return (self.patch * self.merge) ** 2

    @property
    def patches_per_token(self) -> int:
        """Patches that one merger joins."""
        return self.merge**2

    @property
    def gated(self) -> bool:
        """Whether a block's feed-forward has three matrices, and its norms no bias."""
        return self.model_type == "qwen2_5_vl"

    @property
    def block_matrices(self) -> int:
        """Weights of one block's matrices, and of the patch embedding's share."""
        return 4 * self.hidden**2 + (3 if self.gated else 2) * self.hidden * self.intermediate

    @property
    def embedding_matrix(self) -> int:
        """Weights that make a patch of pixels a vector."""
        return _CHANNELS * _FRAMES * self.patch**2 * self.hidden

    def merger_matrices(self, width: int) -> int:
        """Weights of the matrices of one merger, to tokens of `width`."""
        wide = self.patches_per_token * self.hidden
        return wide**2 + wide * width

    def num_weights(self, width: int) -> int:
        """All weights, norms and biases included, with tokens of `width`."""
        d, wide = self.hidden, self.patches_per_token * self.hidden
        norm = d if self.gated else 2 * d
        biases = 4 * d + (2 if self.gated else 1) * self.intermediate + d
        blocks = self.depth * (self.block_matrices + biases + 2 * norm)
        mergers = (1 + self.extra_mergers) * (self.merger_matrices(width) + wide + width)
        merger_norms = norm + self.extra_mergers * 2 * wide
        bias = d if self.model_type == "qwen3_vl" else 0
        return self.embedding_matrix + bias + self.positions * d + blocks + mergers + merger_norms


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelShape:
    """A text model with a vision tower. Arithmetic counts a multiplication and an addition each."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocabulary: int
    tied: bool
    """Whether the output layer is the embedding."""
    tower: TowerShape

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "ModelShape":
        """Read a Hugging Face `config.json`, as older and newer versions write it.

        Raises KeyError for a number that is missing, ValueError for a type of model that is not counted here.
        """
        kind = config.get("model_type")
        if kind not in MODEL_TYPES:
            raise ValueError(f"model_type must be one of {', '.join(MODEL_TYPES)}, got {kind!r}")
        text = {**config, **config.get("text_config", {})}
        heads = text["num_attention_heads"]
        return cls(
            hidden=text["hidden_size"],
            intermediate=text["intermediate_size"],
            layers=text["num_hidden_layers"],
            heads=heads,
            kv_heads=text["num_key_value_heads"],
            head_dim=text.get("head_dim") or text["hidden_size"] // heads,
            vocabulary=text["vocab_size"],
            tied=config.get("tie_word_embeddings", text.get("tie_word_embeddings", False)),
            tower=_tower(kind, config["vision_config"]),
        )

    @property
    def layer_matrices(self) -> int:
        """Weights of the matrices of one text layer."""
        attention = self.hidden * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return attention + 3 * self.hidden * self.intermediate

    @property
    def table_weights(self) -> int:
        """Weights of the embedding, and as many of the output layer."""
        return self.vocabulary * self.hidden

    @property
    def tower_weights(self) -> int:
        """All weights of the tower."""
        return self.tower.num_weights(self.hidden)

    @property
    def num_weights(self) -> int:
        """All weights of the model."""
        kv, query = self.kv_heads * self.head_dim, self.heads * self.head_dim
        of_heads = 2 * self.head_dim if self.tower.model_type == "qwen3_vl" else query + 2 * kv
        layer = self.layer_matrices + of_heads + 2 * self.hidden
        tables = self.table_weights * (1 if self.tied else 2)
        return self.layers * layer + self.hidden + tables + self.tower_weights

    def adapter_weights(self, rank: int, layers: Iterable[str]) -> int:
        """Weights of low-rank adapters on these linear layers, by their names in the model."""
        query, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        sides = {
            "q_proj": (self.hidden, query),
            "k_proj": (self.hidden, kv),
            "v_proj": (self.hidden, kv),
            "o_proj": (query, self.hidden),
            "gate_proj": (self.hidden, self.intermediate),
            "up_proj": (self.hidden, self.intermediate),
            "down_proj": (self.intermediate, self.hidden),
        }
        return self.layers * rank * sum(sum(sides[layer]) for layer in layers)

    @property
    def cache_numbers(self) -> int:
        """Keys and values that an engine keeps of one token."""
        return 2 * self.layers * self.kv_heads * self.head_dim

    @property
    def token_flops(self) -> float:
        """A token in the text model, attention scores apart."""
        return 2.0 * self.layers * self.layer_matrices

    @property
    def pair_flops(self) -> float:
        """A pair of text tokens of which one attends to the other."""
        return 4.0 * self.layers * self.heads * self.head_dim

    @property
    def target_flops(self) -> float:
        """A response token in the output layer."""
        return 2.0 * self.table_weights

    def image_flops(self, num_tokens: float) -> float:
        """An image of so many tokens in the tower; scores within windows are left out, they are small."""
        tower = self.tower
        patches = num_tokens * tower.patches_per_token
        per_patch = tower.embedding_matrix + tower.depth * tower.block_matrices
        mergers = (1 + tower.extra_mergers) * tower.merger_matrices(self.hidden)
        pairs = 4.0 * tower.full_attention * tower.hidden * patches**2
        return 2.0 * (patches * per_patch + num_tokens * mergers) + pairs


def _tower(kind: str, vision: Mapping[str, Any]) -> TowerShape:
    depth = vision.get("depth", 32)
    hidden = vision["embed_dim"] if kind == "qwen2_vl" else vision["hidden_size"]
    ratio = vision.get("mlp_ratio", 4)
    return TowerShape(
        model_type=kind,
        depth=depth,
        hidden=hidden,
        intermediate=int(hidden * ratio) if kind == "qwen2_vl" else vision["intermediate_size"],
        patch=vision["patch_size"],
        merge=vision.get("spatial_merge_size", 2),
        full_attention=len(vision["fullatt_block_indexes"]) if kind == "qwen2_5_vl" else depth,
        extra_mergers=len(vision["deepstack_visual_indexes"]) if kind == "qwen3_vl" else 0,
        positions=vision["num_position_embeddings"] if kind == "qwen3_vl" else 0,
    )
