"""`PolicyModel`: a Hugging Face vision-language model whose forward returns the responses' log-probs.

Owns the forward pass (embed, tower once per distinct image, text model, log-prob head) and the names of the
weights. Works as a DeepSpeed engine's module at ZeRO 1 to 3: weights are reached only by calling the modules
that hold them. Made by `loading.load_policy`; called by `passes` (scorer) and the learner.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from pgpo_async.policy.batch import PolicyInputs
from pgpo_async.policy.logprobs import CHUNK_TOKENS, LogProbHead


class PolicyModel(nn.Module):
    """Wraps a model of `loading.SUPPORTED_MODELS`, which stays usable as `model` (for `save_pretrained`)."""

    def __init__(self, model: Any, *, chunk_tokens: int = CHUNK_TOKENS) -> None:
        super().__init__()
        model.lm_head = LogProbHead.from_linear(model.lm_head, chunk_tokens=chunk_tokens)
        self.model = model

    @property
    def config(self) -> Any:
        """The model's Hugging Face config."""
        return self.model.config

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def forward(self, inputs: PolicyInputs, temperature: float = 1.0) -> torch.Tensor:
        """Log-probs float32 [N] of all response tokens, flat, in the collator's order.

        They are of softmax(logits / temperature). `inputs` are on the model's device; `inputs.split` cuts
        the result into sequences.
        """
        hidden_LH = self._hidden_states(inputs).flatten(0, 1)
        predictors_NH = hidden_LH.index_select(0, inputs.predictor_slots)
        logprobs_N: torch.Tensor = self.model.lm_head(predictors_NH, inputs.target_ids, temperature)
        return logprobs_N

    def hf_named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The weights under the names of the Hugging Face model; a tied `lm_head` is not listed again."""
        yield from self.model.named_parameters()

    def hf_state_dict(self) -> dict[str, torch.Tensor]:
        """The weights by name, detached, not copied. Under ZeRO 3 gather first: they are empty otherwise."""
        return {name: parameter.detach() for name, parameter in self.hf_named_parameters()}

    @property
    def state_names(self) -> tuple[str, ...]:
        """The names in `hf_state_dict`, in its order, without touching a weight."""
        return tuple(name for name, _ in self.hf_named_parameters())

    def _hidden_states(self, inputs: PolicyInputs) -> torch.Tensor:
        embeddings = self.model.get_input_embeddings()(inputs.input_ids)
        if inputs.pixel_values is not None:
            embeddings = self._with_images(embeddings, inputs)
        packed = inputs.segments is not None
        # Packed: a mapping of no masks, or transformers would build a dense [N, N] mask from row 0.
        masks: dict[str, Any] = {"attention_mask": {"full_attention": None}, "segments": inputs.segments}
        output = self.model.model.language_model(
            inputs_embeds=embeddings,
            position_ids=inputs.position_ids,
            use_cache=False,
            **(masks if packed else {"attention_mask": inputs.attention_mask}),
        )
        hidden: torch.Tensor = output.last_hidden_state
        return hidden

    def _with_images(self, embeddings: torch.Tensor, inputs: PolicyInputs) -> torch.Tensor:
        tower = self.model.model.visual
        assert inputs.pixel_values is not None
        images: torch.Tensor = tower(inputs.pixel_values, grid_thw=inputs.image_grids).pooler_output
        images = images.to(embeddings.dtype)
        if len(inputs.image_slots) == 0:  # a dummy image: in the graph, not in the result
            return embeddings + 0.0 * images.sum()
        expanded = images.index_select(0, inputs.image_rows)
        flat = embeddings.flatten(0, 1).index_copy(0, inputs.image_slots, expanded)
        return flat.view_as(embeddings)

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> "PolicyModel":
        """Move or cast the weights, but never cast the buffers: rotary frequencies are wrong in bfloat16.

        DeepSpeed casts whole modules (`module.bfloat16()`), a bfloat16 load does not: learner and scorer
        would differ.
        """
        kept = [
            (module, name, buffer) for module in self.modules() for name, buffer in module._buffers.items()
        ]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for module, name, before in kept:
            after = module._buffers[name]
            if before is not None and after is not None and after.dtype != before.dtype:
                module._buffers[name] = before.to(after.device)
        return self
