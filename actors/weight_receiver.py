"""Runs inside vLLM's worker processes: loads staged weights, and reads back what was loaded.

vLLM finds `register` through the entry point group `vllm.general_plugins`, in every process it starts.
The transfer engine is then made by vLLM itself; `actors.engine` drives it through vLLM's own calls. A
worker cannot talk to Ray, so all it is told is the path of a staged version (`actors.staging`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory
from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead, VocabParallelEmbedding
from vllm.model_executor.model_loader.reload import finalize_layerwise_reload, initialize_layerwise_reload

from pgpo_async.contracts import WeightError, content_hash
from pgpo_async.policy.weight_files import read_version

BACKEND = "pgpo_async_staged"


def register() -> None:
    """Make vLLM know the transfer engine; harmless when called again."""
    if BACKEND not in WeightTransferEngineFactory._registry:
        WeightTransferEngineFactory.register_engine(BACKEND, StagedWeightTransferEngine)


@dataclass
class StagedInitInfo(WeightTransferInitInfo):
    """Nothing to agree on beforehand."""


@dataclass
class StagedUpdateInfo(WeightTransferUpdateInfo):
    """`folder` holds one staged weight version."""

    folder: str


class StagedWeightTransferEngine(WeightTransferEngine[StagedInitInfo, StagedUpdateInfo]):
    """Loads a version from shared memory by a layerwise reload.

    The reload is what lets builds that repack weights (the CPU's linear layers, quantized ones) take new
    values: it puts the checkpoint's layout back, loads, and repacks, a layer at a time.
    """

    init_info_cls = StagedInitInfo
    update_info_cls = StagedUpdateInfo

    def init_transfer_engine(self, init_info: StagedInitInfo) -> None:
        """Nothing to set up: each update names its own folder."""

    def start_weight_update(self) -> None:
        """Open the layers for loading."""
        initialize_layerwise_reload(self.model)

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Load one version; unlike the base class, synchronise only where there is an accelerator."""
        self.receive_weights(self.parse_update_info(update_info))
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()

    def receive_weights(self, update_info: StagedUpdateInfo) -> None:
        """Hand every tensor of the staged version to the model's own loader."""
        self.model.load_weights(read_version(Path(update_info.folder)))

    def finish_weight_update(self) -> None:
        """Close the layers: repack, keep the parameters' addresses.

        A head tied to the embedding gets no weights of its own, so the reload leaves it alone; where heads
        are repacked (on the CPU) it would go on computing with the old ones.
        """
        finalize_layerwise_reload(self.model, self.model_config)
        for head in _tied_heads(self.model, self.model_config):
            head.quant_method.process_weights_after_loading(head)

    def shutdown(self) -> None:
        """Nothing is held between updates."""


class WeightReadback:
    """A vLLM worker extension: what the engine really computes with, as checksums.

    Mixed into vLLM's worker class, so `self.model_runner` is there.
    """

    def weight_checksums(self, folder: str) -> dict[str, str]:
        """Return the checksum of each staged tensor as it stands in the engine.

        `folder` names the tensors and their shapes only. Fused layers are cut into the checkpoint's
        parts; repacked linear layers are read by sending the identity through them, which is exact
        (each sum has one non-zero term). Raises WeightError for a tensor that cannot be found.
        """
        model = self.model_runner.get_model()  # type: ignore[attr-defined]
        if self.model_config.hf_config.model_type not in ("qwen2_5_vl",):  # type: ignore[attr-defined]
            raise WeightError("weights can be read back for qwen2_5_vl only")
        checksums = {
            name: content_hash(_raw_bytes(_read_back(model, name, tensor)))
            for name, tensor in read_version(Path(folder))
        }
        _check_tied_heads(model, self.model_config)  # type: ignore[attr-defined]
        return checksums


def _tied_heads(model: torch.nn.Module, model_config: Any) -> list[Any]:
    if not getattr(model_config.hf_text_config, "tie_word_embeddings", False):
        return []
    return [module for module in model.modules() if isinstance(module, ParallelLMHead)]


def _check_tied_heads(model: torch.nn.Module, model_config: Any) -> None:
    embeddings: list[Any] = [m for m in model.modules() if type(m) is VocabParallelEmbedding]
    for head in _tied_heads(model, model_config):
        if not any(torch.equal(_whole(head, "weight"), embedding.weight) for embedding in embeddings):
            raise WeightError("the engine's tied head computes with other weights than its embedding has")


def _read_back(model: Any, name: str, like: torch.Tensor) -> torch.Tensor:
    ((engine_name, _),) = model.hf_to_vllm_mapper.apply([(name, like)])
    module_name, _, leaf = engine_name.rpartition(".")
    modules = dict(model.named_modules())
    offset = 0
    for fused, parts in model.packed_modules_mapping.items():
        parent, _, last = module_name.rpartition(".")
        if last in parts and f"{parent}.{fused}" in modules and module_name not in modules:
            offset = _fused_offset(modules[f"{parent}.{fused}"], parts.index(last))
            module_name = f"{parent}.{fused}"
    if module_name not in modules:
        raise WeightError(f"the engine has no layer for {name} (looked for {module_name})")
    whole = _whole(modules[module_name], leaf)
    return whole[offset : offset + like.shape[0]].reshape(like.shape).to(like.dtype)


def _fused_offset(module: Any, part: int) -> int:
    if hasattr(module, "num_kv_heads"):  # QKVParallelLinear: query, key, value heads
        sizes = [module.num_heads * module.head_size] + [module.num_kv_heads * module.head_size] * 2
    else:
        sizes = list(module.output_sizes)
    return int(sum(sizes[:part]))


def _whole(module: Any, leaf: str) -> torch.Tensor:
    tensor: torch.Tensor = getattr(module, leaf)
    if leaf != "weight" or not hasattr(module, "cpu_linear") or type(module) is VocabParallelEmbedding:
        return tensor.detach()
    size = module.embedding_dim if isinstance(module, ParallelLMHead) else module.input_size_per_partition
    eye = torch.eye(size, dtype=tensor.dtype)
    rows: torch.Tensor = module.cpu_linear(eye, tensor, None)
    return rows.T.contiguous()


def _raw_bytes(tensor: torch.Tensor) -> bytes:
    # Adding zero turns -0.0 into 0.0, which the identity trick cannot tell apart.
    return (tensor + 0.0).cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
