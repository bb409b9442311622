"""Low-rank adapters on the language model's linear layers: put in, left out for a pass, named, merged.

Owns their names. In the model an adapted layer holds `base_layer`, `lora_A.default` and `lora_B.default`
(peft's layout); published and saved it is `lora_A` and `lora_B` beside the layer's own name, which is what
vLLM and `PeftModel` read. The adapters are in the model's dtype: generators compute with that one, and under
bfloat16 DeepSpeed keeps float32 masters of all that it trains. The vision tower has none, since vLLM serves
none there by default and stored image embeddings stay good. Called by `loading` and `model`; peft is imported
only where a run has adapters.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from pgpo_async.config.inputs import LoraConfig
from pgpo_async.contracts.weights import ADAPTER_CONFIG

_LAYERS = "model.language_model.layers"
_BASE = ".base_layer"
_ADAPTER = ".default"
_PARTS = (".lora_A", ".lora_B")
_PEFT_PREFIX = "base_model.model."


def add_adapters(model: Any, lora: LoraConfig) -> None:
    """Freeze a Hugging Face model and give its layers adapters, in place; as they begin they add nothing."""
    from peft import LoraConfig as PeftConfig
    from peft import inject_adapter_in_model

    pattern = _pattern_of(lora.target_modules)
    settings = PeftConfig(r=lora.rank, lora_alpha=lora.whole_alpha, target_modules=pattern)
    model.requires_grad_(False)
    inject_adapter_in_model(settings, model)


@contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """Let the model compute as it did before it got adapters."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def base_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The model's own weights under the names that they have without adapters."""
    for name, parameter in model.named_parameters():
        if not _is_adapter(name):
            yield name.replace(_BASE, ""), parameter


def adapter_parameters(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The adapters' weights: LAYER.lora_A.weight [rank, in] and LAYER.lora_B.weight [out, rank]."""
    for name, parameter in model.named_parameters():
        if _is_adapter(name):
            yield name.replace(f"{_ADAPTER}.weight", ".weight"), parameter


def keep_adapters(_module: nn.Module, state: dict[str, Any], _prefix: str, _metadata: Any) -> None:
    """Take all but the adapters out of a state dict, as a hook of torch's."""
    for name in [name for name in state if not _is_adapter(name)]:
        del state[name]


def merged(weights: Mapping[str, torch.Tensor], scale: float) -> dict[str, torch.Tensor]:
    """A model without adapters that computes the same: W + scale * B A, added in float32.

    `weights` are the model's own and the adapters', as the two functions above name them.
    """
    found: dict[str, torch.Tensor] = {}
    for name, weight in weights.items():
        if _is_adapter(name):
            continue
        layer = name.removesuffix(".weight")
        down, up = (weights.get(f"{layer}{part}.weight") for part in _PARTS)
        if down is None or up is None:
            found[name] = weight
        else:
            found[name] = torch.addmm(weight.float(), up.float(), down.float(), alpha=scale).to(weight.dtype)
    return found


def write_adapters(folder: Path, weights: Mapping[str, torch.Tensor], lora: LoraConfig, base: str) -> None:
    """Write adapters, named as `adapter_parameters` does, as `PeftModel.from_pretrained` reads them.

    `base` is the model that they belong to. The folder must be there.
    """
    adapters = {_PEFT_PREFIX + name: tensor for name, tensor in weights.items() if _is_adapter(name)}
    settings = {
        "peft_type": "LORA",
        "base_model_name_or_path": base,
        "r": lora.rank,
        "lora_alpha": lora.whole_alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "inference_mode": True,
        # A pattern of whole names: the tower has layers that are called the same.
        "target_modules": _pattern_of(lora.target_modules),
    }
    save_file(adapters, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / ADAPTER_CONFIG).write_text(json.dumps(settings, indent=2), encoding="utf-8")


def _pattern_of(names: Sequence[str]) -> str:
    return rf"{_LAYERS.replace('.', '[.]')}[.]\d+[.].*[.]({'|'.join(names)})"


def _is_adapter(name: str) -> bool:
    return any(f"{part}." in name for part in _PARTS)
