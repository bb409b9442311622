"""`PolicyModel`: a Hugging Face vision-language model whose forward returns the responses' log-probs.

Owns the forward pass (embed, tower once per distinct image, text model, log-prob head) and the names of the
weights. Works as a DeepSpeed engine's module at ZeRO 1 to 3: weights are reached only by calling the modules
that hold them. Made by `loading.load_policy`; called by `passes` (scorer) and the learner.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from pgpo_async.config.inputs import LoraConfig
from pgpo_async.policy import lora
from pgpo_async.policy.batch import PolicyInputs
from pgpo_async.policy.flops import model_work
from pgpo_async.policy.kernels import AttentionKernel
from pgpo_async.policy.logprobs import DivergenceScores, LogProbHead, TokenScores
from pgpo_async.policy.similarity import ImageSimilarity


class PolicyModel(nn.Module):
    """Wraps a model of `loading.SUPPORTED_MODELS`, which stays usable as `model` (for `save_pretrained`)."""

    def __init__(
        self, model: Any, *, attention: AttentionKernel = "auto", slice_elements: int | None = None
    ) -> None:
        super().__init__()
        model.lm_head = LogProbHead.from_linear(model.lm_head, slice_elements=slice_elements)
        self.model = model
        self.attention = attention
        self.work = model_work(model)
        self.lora: LoraConfig | None = None

    @property
    def config(self) -> Any:
        """The model's Hugging Face config."""
        return self.model.config

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def forward(
        self,
        inputs: PolicyInputs,
        temperature: float = 1.0,
        *,
        entropy: bool = False,
        entropy_top_p: float = 1.0,
        similarity: bool = False,
        blind_inputs: PolicyInputs | None = None,
        readout: bool = False,
    ) -> TokenScores | DivergenceScores:
        """Log-probs of all response tokens, flat, in the collator's order; `inputs.split` cuts them.

        They are of softmax(logits / temperature). Inputs are on the model's device. With `entropy` the
        entropy of each token's distribution too, or with `entropy_top_p` below 1 of its likeliest tokens
        with that much probability, and then nothing has a gradient. With `similarity` that of each token's
        hidden states with its images' (`similarity.ImageSimilarity`). With `blind_inputs`, the same groups
        collated blind, both passes' log-probs and their divergence over the whole vocabulary, without
        gradient. `readout`: see `TokenScores`. Raises ValueError if `entropy_top_p` is not in (0, 1].
        """
        alike = ImageSimilarity(inputs) if similarity else None
        predictors_NH = self._predictors(inputs, alike)
        scores: TokenScores | DivergenceScores = self.model.lm_head(
            predictors_NH,
            inputs.target_ids,
            temperature,
            entropy=entropy,
            entropy_top_p=entropy_top_p,
            blind_hidden=None if blind_inputs is None else self._predictors(blind_inputs),
            readout=readout,
        )
        return scores if alike is None else scores._replace(similarity=alike.result())

    def add_adapters(self, settings: LoraConfig) -> None:
        """Freeze all weights, and train low-rank adapters beside them; see `lora.add_adapters`.

        The adapters alone are in `state_dict` then, and so in checkpoints: DeepSpeed leaves out frozen
        weights by name, and a tied one has two.
        """
        lora.add_adapters(self.model, settings)
        self.lora = settings
        self.register_state_dict_post_hook(lora.keep_adapters)  # type: ignore[no-untyped-call]

    def without_adapters(self) -> AbstractContextManager[None]:
        """Let the model compute as it was read, for as long as the context lasts."""
        return lora.without_adapters(self.model)

    def hf_named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The weights under the names of the Hugging Face model; a tied `lm_head` is not listed again.

        Adapters are no part of it: `merged` brings the two together.
        """
        yield from lora.base_parameters(self.model)

    def published_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """What training changes and others must be told of: the adapters, or without any all weights."""
        yield from self.hf_named_parameters() if self.lora is None else lora.adapter_parameters(self.model)

    def weights_and_adapters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The weights and the adapters, each once."""
        # Not `all_parameters`: ZeRO 3 puts a list of its own there.
        yield from self.hf_named_parameters()
        yield from lora.adapter_parameters(self.model)

    def merged(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Values of `weights_and_adapters` as those of a model without adapters."""
        return dict(weights) if self.lora is None else lora.merged(weights, self.lora.scale)

    def hf_state_dict(self) -> dict[str, torch.Tensor]:
        """The weights by name, detached, not copied. Under ZeRO 3 gather first: they are empty otherwise."""
        return {name: parameter.detach() for name, parameter in self.hf_named_parameters()}

    @property
    def state_names(self) -> tuple[str, ...]:
        """The names in `hf_state_dict`, in its order, without touching a weight."""
        return tuple(name for name, _ in self.hf_named_parameters())

    def _predictors(self, inputs: PolicyInputs, alike: ImageSimilarity | None = None) -> torch.Tensor:
        """The hidden states [N, H] that predict the response tokens; `alike` sees all layers' states."""
        embeddings = self.model.get_input_embeddings()(inputs.input_ids)
        extra: dict[str, Any] = {}
        if inputs.pixel_values is not None:
            embeddings, extra = self._with_images(embeddings, inputs)
        text_model = self.model.model.language_model
        # The last layer's states come from the output: there they are behind the final norm.
        with nullcontext() if alike is None else alike.watching(text_model.layers[:-1]):
            output = text_model(
                inputs_embeds=embeddings,
                # Three rows, no fourth for text: transformers would look in it for borders and build a mask.
                position_ids=inputs.position_ids,
                use_cache=False,
                segments=inputs.segments,
                kernel=self.attention,
                # The similarity needs the image tokens of the last layer too.
                needed=inputs.needed_slots if alike is None else None,
                **extra,
            )
        hidden: torch.Tensor = output.last_hidden_state[0]
        if alike is not None:
            alike.add(hidden)
            hidden = hidden.index_select(0, inputs.needed_slots)
        return hidden.index_select(0, inputs.predictor_slots)

    def _with_images(
        self, embeddings: torch.Tensor, inputs: PolicyInputs
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """The tower's output in its places, and what a model with deepstack adds in its first layers."""
        tower = self.model.model.visual
        assert inputs.pixel_values is not None
        output = tower(inputs.pixel_values, grid_thw=inputs.image_grids)
        layers = [output.pooler_output, *(getattr(output, "deepstack_features", None) or [])]
        layers = [layer.to(embeddings.dtype) for layer in layers]
        if len(inputs.image_slots) == 0:  # a dummy image: in the graph, not in the result
            return embeddings + 0.0 * sum(layer.sum() for layer in layers), {}
        images, *deepstack = [layer.index_select(0, inputs.image_rows) for layer in layers]
        flat = embeddings[0].index_copy(0, inputs.image_slots, images)
        if not deepstack:
            return flat.unsqueeze(0), {}
        is_image = torch.zeros_like(inputs.input_ids, dtype=torch.bool)
        is_image[0, inputs.image_slots] = True
        return flat.unsqueeze(0), {"visual_pos_masks": is_image, "deepstack_visual_embeds": deepstack}

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
