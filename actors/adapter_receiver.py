"""Runs in vLLM's worker processes where a run trains low-rank adapters: loads staged ones, reads them back.

The model stays as it was read. One adapter, which every request names, lies in the buffers that vLLM computes
adapters from; it begins as zeros, so that a request of before the first version goes on with that version
like any other. vLLM's weight transfer would not do: it forgets all adapters when an update ends. Mixed into
vLLM's worker class; `actors.engine_weights` calls it through vLLM. Whole models are `weight_receiver`'s.
"""

from pathlib import Path
from typing import Any

import torch
from vllm.lora.lora_model import LoRAModel
from vllm.lora.peft_helper import PEFTHelper
from vllm.lora.utils import parse_fine_tuned_lora_name

from pgpo_async.contracts import WeightError
from pgpo_async.policy.weight_files import read_version, tensor_checksum

ADAPTER_ID = 1
"""The only one; vLLM's 0 is none."""


class AdapterReceiver:
    """A vLLM worker extension; `self.model_runner` is there."""

    def start_adapter(self, rank: int, alpha: int) -> None:
        """Take the adapter that adds nothing. Those to come are multiplied by alpha / rank."""
        self._settings = PEFTHelper(r=rank, lora_alpha=alpha, target_modules=[])
        model = self._model
        _put(
            model.lora_manager,
            model.lora_manager.create_dummy_lora(ADAPTER_ID, rank, model.embedding_modules),
        )

    def load_adapter(self, folder: str) -> None:
        """Put a staged version in the place of the one before.

        Raises WeightError for a layer that has no adapter in the engine.
        """
        manager = self._model.lora_manager
        # Copies: the staged files are views, and vLLM multiplies B by the scale in place.
        tensors = {name: tensor.clone() for name, tensor in read_version(Path(folder))}
        adapter = LoRAModel.from_lora_tensors(
            ADAPTER_ID,
            tensors,
            self._settings,
            device="cpu",
            dtype=manager.lora_config.lora_dtype,
            weights_mapper=self._names,
        )
        _put(manager, adapter)

    def weight_checksums(self, folder: str) -> dict[str, str]:
        """Return the checksum of each tensor of a staged version as it stands in the engine's buffers.

        There B is multiplied by the scale, so a staged B is multiplied and compared: where they are equal the
        checksum is that of the staged one. Raises WeightError for a layer that cannot be found.
        """
        manager, scale = self._model.lora_manager, self._settings.vllm_lora_scaling_factor
        slot = manager.lora_index_to_id.index(ADAPTER_ID)
        checksums = {}
        for name, staged in read_version(Path(folder)):
            layer, is_down = parse_fine_tuned_lora_name(name, self._names)
            module, part = _place(manager, layer)
            stacked = (module.lora_a_stacked if is_down else module.lora_b_stacked)[part]
            rows, columns = staged.shape
            found = stacked[slot, 0, :rows, :columns].cpu()
            wanted = staged.to(found.dtype) if is_down else staged.to(found.dtype) * scale
            checksums[name] = tensor_checksum(staged if torch.equal(found, wanted) else found)
        return checksums

    @property
    def _model(self) -> Any:
        return self.model_runner.get_model()  # type: ignore[attr-defined]

    @property
    def _names(self) -> Any:
        """From the names of the Hugging Face model to the engine's."""
        return self._model.hf_to_vllm_mapper.get_rename_mapper()


def _put(manager: Any, adapter: LoRAModel) -> None:
    manager.remove_adapter(ADAPTER_ID)
    manager.add_adapter(adapter)
    # Fused by now as the engine's layers are; what is left over would be passed over in silence.
    if unknown := sorted(set(adapter.loras) - set(manager.modules)):
        raise WeightError(f"the engine has no layer that takes the adapter of {unknown[0]}")
    manager.activate_adapter(ADAPTER_ID)
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def _place(manager: Any, layer: str) -> tuple[Any, int]:
    """The engine's layer that computes `layer`'s adapter, and which of its parts does."""
    if layer in manager.modules:
        return manager.modules[layer], 0
    for fused, parts in manager.packed_modules.items():
        if layer in parts and fused in manager.modules:
            return manager.modules[fused], parts.index(layer)
    raise WeightError(f"the engine has no layer that takes the adapter of {layer}")
