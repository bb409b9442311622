"""From a model's path to a policy and its processor.

Owns which models are supported and the words for those that are not. Called by scorer, learner and data
preparation (`load_processor`). Heavy: `model_path` is what a process without a model imports.
"""

from typing import Any, Literal

import torch
import transformers

from pgpo_async.config.inputs import LoraConfig
from pgpo_async.contracts import ConfigError
from pgpo_async.policy.attention import SHARED_PREFIX_ATTENTION
from pgpo_async.policy.kernels import AttentionKernel
from pgpo_async.policy.model import PolicyModel
from pgpo_async.policy.model_path import resolve_model_path
from pgpo_async.policy.trim import trim
from pgpo_async.policy.vision_attention import VISION_ATTENTION

Dtype = Literal["float32", "bfloat16"]

# By name: transformers loads what a name stands for when it is asked, and a driver loads no model.
SUPPORTED_MODELS = {
    "qwen2_vl": "Qwen2VLForConditionalGeneration",
    "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration",
    "qwen3_vl": "Qwen3VLForConditionalGeneration",
}
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def load_processor(
    path: str,
    *,
    min_pixels: int | None = None,
    max_pixels: int | None = None,
    trust_remote_code: bool = False,
) -> Any:
    """The model's processor (tokenizer, image processor, chat template), with other image limits if given.

    Code that the model brings is run only with `trust_remote_code`. Raises ConfigError if there is no
    processor, or if `min_pixels` is above `max_pixels`.
    """
    processor = _from_pretrained(transformers.AutoProcessor, path, trust_remote_code=trust_remote_code)
    if not hasattr(processor, "image_processor"):
        raise ConfigError(f"model.path must hold an image processor, got {path!r} with a tokenizer only")
    size = dict(processor.image_processor.size)
    size["shortest_edge"] = min_pixels or size["shortest_edge"]
    size["longest_edge"] = max_pixels or size["longest_edge"]
    if size["shortest_edge"] > size["longest_edge"]:
        raise ConfigError(
            f"model.min_pixels must be at most model.max_pixels, got {size['shortest_edge']} above "
            f"{size['longest_edge']}"
        )
    processor.image_processor.size = type(processor.image_processor.size)(**size)
    return processor


def load_policy(
    path: str,
    *,
    dtype: Dtype,
    device: str | torch.device = "cpu",
    train_vision_tower: bool = True,
    activation_checkpointing: bool = False,
    attention: AttentionKernel = "auto",
    trust_remote_code: bool = False,
    lora: LoraConfig | None = None,
) -> PolicyModel:
    """The model as a policy, in evaluation mode (`train()` it to train: checkpointing needs that).

    With `lora` of a rank above 0 adapters alone get gradients. Code that the model brings is run only with
    `trust_remote_code`. Raises ConfigError if the model cannot be read or is of a type that is not supported.
    """
    config = _from_pretrained(transformers.AutoConfig, path, trust_remote_code=trust_remote_code)
    _check_supported(config, path)
    model = _from_pretrained(
        getattr(transformers, SUPPORTED_MODELS[config.model_type]),
        path,
        dtype=_DTYPES[dtype],
        trust_remote_code=trust_remote_code,
    )
    model.model.visual.requires_grad_(train_vision_tower)
    if activation_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    policy = policy_of(model, attention=attention)
    if lora is not None and lora.rank:
        policy.add_adapters(lora)
    return policy.to(device).eval()


def policy_of(model: Any, *, attention: AttentionKernel = "auto") -> PolicyModel:
    """A Hugging Face model of `SUPPORTED_MODELS` as a policy; it is changed, not copied."""
    model.set_attn_implementation(
        {"": "sdpa", "text_config": SHARED_PREFIX_ATTENTION, "vision_config": "sdpa"}
    )
    # Set past transformers' check, which would look for the package that a flash attention usually is.
    model.model.visual.config._attn_implementation = VISION_ATTENTION
    trim(model)
    return PolicyModel(model, attention=attention)


def _from_pretrained(loader: Any, path: str, **options: Any) -> Any:
    try:
        return loader.from_pretrained(resolve_model_path(path), **options)
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"model.path must be a folder or hub name that transformers can read, got {path!r}: {error}"
            f"{_hint(error)}"
        ) from error


def _hint(error: Exception) -> str:
    if "trust_remote_code" not in str(error):
        return ""
    return " (here: model.trust_remote_code=true, which runs the code that the model brings)"


def _check_supported(config: Any, path: str) -> None:
    if config.model_type not in SUPPORTED_MODELS:
        raise ConfigError(
            f"model.path must hold a model of type {' or '.join(SUPPORTED_MODELS)}, got {path!r} of type "
            f"{config.model_type!r}: the blind pass drops image tokens, which equals hiding them only where "
            "attention is all that mixes tokens (not in recurrent or hybrid layers)"
        )
    kinds = set(getattr(config.get_text_config(), "layer_types", None) or ())
    if kinds - {"full_attention"}:
        raise ConfigError(
            f"model.path must hold a model with full attention in all layers, got {path!r} with "
            f"{sorted(kinds)}: set use_sliding_window to false in its config.json if no "
            "sequence reaches its window"
        )
    num_layers = config.get_text_config().num_hidden_layers
    if len(getattr(config.vision_config, "deepstack_visual_indexes", None) or ()) >= num_layers:
        raise ConfigError(
            f"model.path must hold a model whose last text layer takes no deepstack features, got {path!r} "
            f"with {num_layers} layers"
        )
