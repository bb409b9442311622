"""How an engine takes new weights: all of them, or the low-rank adapter of a run that trains one.

Owns what vLLM must be started with for either, and the calls that load a staged version between a pause and a
resume, which are `engine`'s, as is the count of versions. What these calls run in vLLM's worker processes is
in `weight_receiver` and `adapter_receiver`.
"""

from typing import Any, Protocol, get_args

from pgpo_async.config.inputs import LoraConfig


class EngineWeights(Protocol):
    """Of one engine; `llm` is its AsyncLLM."""

    def arguments(self) -> dict[str, Any]:
        """Return vLLM's engine arguments; call it where vLLM may be imported."""

    async def start(self, llm: Any) -> None:
        """Make an engine ready to load, once."""

    async def load(self, llm: Any, folder: str) -> None:
        """Load a staged version into an engine that is paused. A failure leaves a mixture of weights."""

    @property
    def lora_request(self) -> Any:
        """What each request names to be answered with these weights; None for the model's own."""


def engine_weights(lora: LoraConfig) -> EngineWeights:
    """Return the way that a run with these settings takes."""
    return Adapter(lora) if lora.rank else WholeWeights()


class WholeWeights:
    """All weights, by vLLM's weight transfer and its layerwise reload."""

    lora_request = None

    def arguments(self) -> dict[str, Any]:
        """See `EngineWeights`."""
        from vllm.config import WeightTransferConfig

        from pgpo_async.actors.weight_receiver import BACKEND, register

        register()
        return {
            "weight_transfer_config": WeightTransferConfig(backend=BACKEND),
            "worker_extension_cls": "pgpo_async.actors.weight_receiver.WeightReadback",
        }

    async def start(self, llm: Any) -> None:
        """See `EngineWeights`."""
        from vllm.distributed.weight_transfer.base import WeightTransferInitRequest

        await llm.init_weight_transfer_engine(WeightTransferInitRequest(init_info={}))

    async def load(self, llm: Any, folder: str) -> None:
        """See `EngineWeights`."""
        from vllm.distributed.weight_transfer.base import WeightTransferUpdateRequest

        await llm.start_weight_update()
        await llm.update_weights(WeightTransferUpdateRequest(update_info={"folder": folder}))
        await llm.finish_weight_update()
        await self._forget_old_embeddings(llm)

    async def _forget_old_embeddings(self, llm: Any) -> None:
        # Image embeddings are keyed by the image alone: those of the old tower would be served on.
        await llm.reset_encoder_cache()
        await llm.reset_mm_cache()


class Adapter:
    """One adapter in vLLM's own buffers; the model, and so every stored image embedding, stays."""

    def __init__(self, lora: LoraConfig) -> None:
        self._lora = lora
        self._request: Any = None

    def arguments(self) -> dict[str, Any]:
        """See `EngineWeights`."""
        from vllm.config.lora import MaxLoRARanks

        return {
            "enable_lora": True,
            "max_loras": 1,
            # vLLM has buffers of some ranks only; a smaller adapter lies in a corner of them.
            "max_lora_rank": min(rank for rank in get_args(MaxLoRARanks) if rank >= self._lora.rank),
            "lora_target_modules": list(self._lora.target_modules),
            "worker_extension_cls": "pgpo_async.actors.adapter_receiver.AdapterReceiver",
        }

    async def start(self, llm: Any) -> None:
        """See `EngineWeights`."""
        from vllm.lora.request import LoRARequest

        from pgpo_async.actors.adapter_receiver import ADAPTER_ID

        await llm.collective_rpc("start_adapter", args=(self._lora.rank, self._lora.whole_alpha))
        # The path would be read only if the adapter were not there.
        self._request = LoRARequest("policy", ADAPTER_ID, "loaded-from-shared-memory-only")

    async def load(self, llm: Any, folder: str) -> None:
        """See `EngineWeights`."""
        await llm.collective_rpc("load_adapter", args=(folder,))

    @property
    def lora_request(self) -> Any:
        """See `EngineWeights`."""
        return self._request
