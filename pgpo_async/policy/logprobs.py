"""Log-probs, entropy and exact divergence from hidden states, a slice of the vocabulary at a time.

Owns `LogProbHead`, which takes the place of the model's `lm_head` (same parameter, same name), and the scan
over the vocabulary. Slices of the vocabulary, not of the tokens: every slice of the weight is read once a
pass, and its gradient is one matrix product over all tokens, as exact as without slices. No [tokens,
vocabulary] matrix is held; the backward pass computes the slices again from the log-sum-exp. One call a
forward, however many slices: ZeRO 3 gathers a module's weight when the module is called, so ranks with
different numbers of tokens still run the same collectives. Called by `model`.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pgpo_async.policy.nucleus import nucleus_scores
from pgpo_async.policy.vocabulary import (
    RunningSoftmax,
    SliceLogits,
    as_computed,
    place_in_slice,
    vocabulary_slices,
)

SLICE_ELEMENTS = {"cpu": 1 << 22, "cuda": 1 << 26}
"""Logits held at once, by default: about what a processor caches; what keeps a GPU busy (256 MiB)."""
MIN_WIDTH = 512


class TokenScores(NamedTuple):
    """float32 [N] each, nats; None where not asked for. `entropy` is that of the distribution or its nucleus.

    `similarity` is `similarity.ImageSimilarity`'s, a cosine; the head leaves it out. `readout` [N, H] is
    dlp / dh * h, h the final norm's output: the gradient of each log-prob to the logarithm of that norm's
    weights.
    """

    logprobs: Tensor
    entropy: Tensor | None
    similarity: Tensor | None = None
    readout: Tensor | None = None


class DivergenceScores(NamedTuple):
    """float32 [N] each, nats: log-probs of the targets in both passes, and KL(sighted || blind).

    `entropy` and `similarity` of the sighted pass, as in `TokenScores`.
    """

    sighted_logprobs: Tensor
    blind_logprobs: Tensor
    kl: Tensor
    entropy: Tensor | None = None
    similarity: Tensor | None = None


class LogProbHead(nn.Linear):
    """A linear output layer that can also return the log-probs of given tokens."""

    slice_elements: int | None = None

    @classmethod
    def from_linear(cls, layer: nn.Linear, *, slice_elements: int | None = None) -> "LogProbHead":
        """A head on the layer's own parameters (a tied weight stays tied).

        `slice_elements` bounds the logits held at once, by default as it suits the device. Raises ValueError
        for a size below 1.
        """
        if slice_elements is not None and slice_elements < 1:
            raise ValueError(f"slice_elements must be at least 1, got {slice_elements}")
        head = cls(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        head.weight, head.bias = layer.weight, layer.bias
        head.slice_elements = slice_elements
        return head

    def forward(
        self,
        hidden: Tensor,
        target_ids: Tensor | None = None,
        temperature: float = 1.0,
        *,
        entropy: bool = False,
        entropy_top_p: float = 1.0,
        blind_hidden: Tensor | None = None,
        readout: bool = False,
    ) -> Any:
        """Logits of `hidden` without targets, `TokenScores` with them, `DivergenceScores` with both passes.

        `hidden` and `blind_hidden` [N, H], `target_ids` int64 [N]; of softmax(logits / temperature). With
        `entropy_top_p` below 1 the entropy is that of the nucleus, and nothing has a gradient;
        `DivergenceScores` have none either. `readout` costs one more pass forward and backward and is for
        `TokenScores` with a gradient. Raises ValueError if `entropy_top_p` is not in (0, 1].
        """
        if target_ids is None:
            return super().forward(hidden)
        if not 0 < entropy_top_p <= 1:
            raise ValueError(f"entropy_top_p must be in (0, 1], got {entropy_top_p}")
        if blind_hidden is not None:
            divergence = self._divergence(hidden, blind_hidden, target_ids, temperature)
            if not entropy:
                return divergence
            # No method asks for both; where one does, the sighted logits are computed again.
            with torch.no_grad():
                scores = self(hidden, target_ids, temperature, entropy=True, entropy_top_p=entropy_top_p)
            return divergence._replace(entropy=scores.entropy)
        if entropy and entropy_top_p < 1:
            return TokenScores(
                *nucleus_scores(
                    hidden,
                    self.weight,
                    self.bias,
                    target_ids,
                    temperature=temperature,
                    top_p=entropy_top_p,
                    elements=self._elements,
                )
            )
        logprobs, entropies = self._scan(hidden, self.weight, target_ids, temperature, entropy)
        sensitivity = self._readout(hidden, target_ids, temperature) if readout else None
        return TokenScores(logprobs, entropies if entropy else None, readout=sensitivity)

    def _scan(
        self, hidden_NH: Tensor, weight: Tensor, target_ids_N: Tensor, temperature: float, entropy: bool
    ) -> tuple[Tensor, Tensor]:
        scan: Any = _Scan.apply
        width = self._width(len(hidden_NH))
        scores: tuple[Tensor, Tensor] = scan(
            hidden_NH, weight, self.bias, target_ids_N, temperature, entropy, width
        )
        return scores

    def _readout(self, hidden_NH: Tensor, target_ids_N: Tensor, temperature: float) -> Tensor:
        # Inside the module's own call, where ZeRO 3 has the weight gathered.
        with torch.enable_grad():
            leaf_NH = hidden_NH.detach().requires_grad_()
            logprobs_N, _ = self._scan(leaf_NH, self.weight.detach(), target_ids_N, temperature, False)
            (gradient_NH,) = torch.autograd.grad(logprobs_N.sum(), leaf_NH)
        return gradient_NH.float() * leaf_NH.detach().float()

    @property
    def _elements(self) -> int:
        if self.slice_elements is not None:
            return self.slice_elements
        return SLICE_ELEMENTS.get(self.weight.device.type, SLICE_ELEMENTS["cuda"])

    def _width(self, num_tokens: int) -> int:
        return min(self.out_features, max(MIN_WIDTH, self._elements // max(1, num_tokens)))

    @torch.no_grad()
    def _divergence(
        self, sighted_NH: Tensor, blind_NH: Tensor, target_ids_N: Tensor, temperature: float
    ) -> DivergenceScores:
        """KL = E[l - l'] - lse + lse' with the expectation under the sighted pass, summed slice by slice."""
        sighted, blind = RunningSoftmax(target_ids_N), RunningSoftmax(target_ids_N)
        sighted_NH, blind_NH = as_computed(sighted_NH), as_computed(blind_NH)
        width = self._width(2 * len(sighted_NH))
        logits, others = (
            SliceLogits(sighted_NH, width, temperature),
            SliceLogits(blind_NH, width, temperature),
        )
        for start, weight_vH, bias_v in vocabulary_slices(self.weight, self.bias, width):
            logits_Nv, other_Nv = logits.of(weight_vH, bias_v), others.of(weight_vH, bias_v)
            difference_Nv = logits_Nv - other_Nv
            blind.add(start, other_Nv)
            sighted.add(start, logits_Nv, values_Nv=difference_Nv)
        kl_N = sighted.expectation() - sighted.logsumexp() + blind.logsumexp()
        # Rounding leaves about 1e-6; a divergence is not negative.
        return DivergenceScores(sighted.logprobs(), blind.logprobs(), kl_N.clamp(min=0.0))


class _Scan(torch.autograd.Function):
    """Log-probs and entropy [N] each; with l the logits / temperature and p their softmax:

    d logprob / d l = onehot - p;  d entropy / d l = - p (log p + entropy).
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target_ids: Tensor,
        temperature: float,
        entropy: bool,
        width: int,
    ) -> tuple[Tensor, Tensor]:
        running, logits = RunningSoftmax(target_ids), SliceLogits(as_computed(hidden), width, temperature)
        for start, weight_vH, bias_v in vocabulary_slices(weight, bias, width):
            logits_Nv = logits.of(weight_vH, bias_v)
            running.add(start, logits_Nv, values_Nv=logits_Nv.clone() if entropy else None)
        logsumexp = running.logsumexp()
        entropies = logsumexp - running.expectation() if entropy else torch.zeros_like(logsumexp)
        ctx.save_for_backward(hidden, weight, bias, target_ids, logsumexp, entropies)
        ctx.settings = temperature, width
        ctx.set_materialize_grads(False)
        return running.logprobs(), entropies

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, target_ids, logsumexp, entropies = ctx.saved_tensors
        temperature, width = ctx.settings
        states = as_computed(hidden)
        logits = SliceLogits(states, width, temperature)
        grad_logprobs, grad_entropies = grads
        if grad_logprobs is None:
            grad_logprobs = torch.zeros_like(logsumexp)
        grad_hidden = torch.zeros_like(hidden, dtype=torch.float32) if ctx.needs_input_grad[0] else None
        grad_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        grad_bias = torch.empty_like(bias) if bias is not None and ctx.needs_input_grad[2] else None
        for start, weight_vH, bias_v in vocabulary_slices(weight, bias, width):
            where = slice(start, start + len(weight_vH))
            logprobs_Nv = logits.of(weight_vH, bias_v).sub_(logsumexp.unsqueeze(1))
            inside, local = place_in_slice(target_ids, start, logprobs_Nv.shape[1])
            if grad_entropies is None:
                grad_Nv = logprobs_Nv.exp_().mul_(-grad_logprobs.unsqueeze(1))
            else:
                factor = (logprobs_Nv + entropies.unsqueeze(1)).mul_(grad_entropies.unsqueeze(1))
                factor += grad_logprobs.unsqueeze(1)
                grad_Nv = logprobs_Nv.exp_().mul_(factor).neg_()
            added = torch.where(inside, grad_logprobs, 0.0)
            grad_Nv.scatter_add_(1, local.unsqueeze(1), added.unsqueeze(1))
            if temperature != 1.0:
                grad_Nv /= temperature
            grad_Nv = grad_Nv.to(states.dtype)
            if grad_hidden is not None:
                _add_product(grad_hidden, grad_Nv, weight_vH)
            if grad_weight is not None:
                _put_product(grad_weight[where], grad_Nv.T, states)
            if grad_bias is not None:
                grad_bias[where] = grad_Nv.sum(0)
        if grad_hidden is not None:
            grad_hidden = grad_hidden.to(hidden.dtype)
        return grad_hidden, grad_weight, grad_bias, None, None, None, None


def _put_product(place: Tensor, left: Tensor, right: Tensor) -> None:
    if left.dtype == place.dtype:
        torch.mm(left, right, out=place)
    else:
        place.copy_(left @ right)


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total += left @ right
