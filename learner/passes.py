"""The forward passes of one micro-batch, and its loss.

Owns which views of a micro-batch are run with gradient, and the same number of passes for a rank that has no
micro-batch left: each is a collective under ZeRO 3. Called by `engine`.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pgpo_async.algorithms.shaping import ImageMasking, Shaper
from pgpo_async.config import RunConfig
from pgpo_async.learner.grad_variance import GradVariance
from pgpo_async.learner.loss_inputs import LossInputs, micro_batch_loss
from pgpo_async.learner.micro_batches import Collated, stand_in
from pgpo_async.learner.step_metrics import StepSums
from pgpo_async.policy.inputs import Collator
from pgpo_async.policy.logprobs import TokenScores


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StepMeters:
    """What a step adds up beside its gradient; `variance` on the steps that estimate it."""

    sums: StepSums
    variance: GradVariance | None = None


class MicroBatchPasses:
    """`model` is the DeepSpeed engine around the policy."""

    def __init__(
        self, model: Any, shaper: Shaper, config: RunConfig, collator: Collator, device: torch.device
    ) -> None:
        self._model = model
        self._terms = shaper.loss_terms
        self._config = config
        self._device = device
        self._stand_in = stand_in(collator, model.module.config).to(device)

    @property
    def num_passes(self) -> int:
        """Forward passes of a micro-batch."""
        return 2 if self._terms.needs_masked_pass else 1

    def loss(self, collated: Collated, normalizer: float, meters: StepMeters) -> Tensor:
        """The micro-batch's part of the step's loss, with its gradient; sums are added to the meters."""
        scores: TokenScores = self._model(
            collated.inputs.to(self._device),
            self._config.generation.temperature,
            entropy=True,
            readout=meters.variance is not None,
        )
        masked_N = None
        if collated.masked is not None:
            masked_N = self._logprobs(collated.masked.to(self._device))
        inputs = collated.batch.loss_inputs.to(self._device)
        loss, token_sums = self._loss(scores.logprobs, masked_N, inputs, normalizer)
        assert scores.entropy is not None
        meters.sums.add({"loss": loss, "entropy_sum": scores.entropy.sum(), **token_sums})
        if meters.variance is not None:
            assert scores.readout is not None
            slopes = self._slopes(scores.logprobs, masked_N, inputs, normalizer)
            meters.variance.add(scores.readout, slopes, inputs.lengths)
        return loss

    def no_loss(self) -> Tensor:
        """A loss of 0, and a gradient of 0 at every weight, by the same number of passes."""
        nothing = self._logprobs(self._stand_in).sum()
        for _ in range(self.num_passes - 1):
            nothing = nothing + self._logprobs(self._stand_in).sum()
        return nothing * 0.0

    def _logprobs(self, inputs: Any) -> Tensor:
        logprobs: Tensor = self._model(inputs, self._config.generation.temperature).logprobs
        return logprobs

    def _loss(
        self,
        logprobs_N: Tensor,
        masked_N: Tensor | None,
        inputs: LossInputs,
        normalizer: float,
        *,
        shaped: bool = True,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return micro_batch_loss(
            logprobs_N,
            inputs,
            self._config.algorithm,
            normalizer,
            interpolate=not self._config.uses_scorers,
            terms=self._terms if shaped else None,
            masked_logprobs_N=masked_N,
        )

    def _slopes(
        self, logprobs_N: Tensor, masked_N: Tensor | None, inputs: LossInputs, normalizer: float
    ) -> tuple[Tensor, Tensor]:
        """d loss / d log-prob, with the method's weights and terms and without."""
        leaf_N = logprobs_N.detach().requires_grad_()
        others_N = None if masked_N is None else masked_N.detach()
        shaped, _ = self._loss(leaf_N, others_N, inputs, normalizer)
        plain_inputs = replace(inputs, advantages_N=inputs.plain_advantages_N)
        plain, _ = self._loss(leaf_N, others_N, plain_inputs, normalizer, shaped=False)
        return torch.autograd.grad(shaped, leaf_N)[0], torch.autograd.grad(plain, leaf_N)[0]


def masked_view(shaper: Shaper) -> ImageMasking | None:
    """How the learner masks images for a pass with gradient, None if the method needs none."""
    return shaper.masking if shaper.loss_terms.needs_masked_pass else None
