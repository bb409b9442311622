"""Entropy of the likeliest tokens only, and the log-probs from the same logits, some tokens at a time.

Owns the cut: the smallest set of likeliest tokens that hold `top_p` of the probability (ToR, arXiv
2603.25077). A token's place among the others is not known before all of its logits are, so tokens are cut
into chunks here, not the vocabulary. Without gradient. Called by `logprobs`.
"""

import torch
from torch import Tensor

from pgpo_async.policy.vocabulary import SliceLogits, as_computed

LIKELIEST = 1024
"""Tokens looked at first. Of 150,000 they are found in a tenth of the time that sorting all takes, and hold
the mass wanted but for the flattest distributions, which are sorted."""


@torch.no_grad()
def nucleus_scores(
    hidden_NH: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target_ids_N: Tensor,
    *,
    temperature: float,
    top_p: float,
    elements: int,
) -> tuple[Tensor, Tensor]:
    """Log-probs of the targets, of the whole distribution, and entropies of its nucleus, float32 [N] each.

    `elements` logits are held at once, or one token's, and a few times as much to sort them. Nats.
    """
    logprobs, entropies = (hidden_NH.new_empty(len(hidden_NH), dtype=torch.float32) for _ in range(2))
    hidden_NH, weight = as_computed(hidden_NH), as_computed(weight)
    bias = None if bias is None else as_computed(bias)
    step = max(1, elements // len(weight))
    for start in range(0, len(hidden_NH), step):
        chunk = slice(start, start + step)
        logits_nV = SliceLogits(hidden_NH[chunk], len(weight), temperature).of(weight, bias)
        logits_nV -= logits_nV.logsumexp(1, keepdim=True)
        logprobs[chunk] = logits_nV.gather(1, target_ids_N[chunk].unsqueeze(1)).squeeze(1)
        entropies[chunk] = nucleus_entropy(logits_nV, top_p)
    return logprobs, entropies


def nucleus_entropy(logprobs_NV: Tensor, top_p: float) -> Tensor:
    """Entropy [N] of each distribution cut to its nucleus and renormalised, nats."""
    if logprobs_NV.shape[1] <= LIKELIEST:
        return _cut(_sorted(logprobs_NV), top_p)
    likeliest = logprobs_NV.topk(LIKELIEST, dim=1).values
    entropies = _cut(likeliest, top_p)
    flat = likeliest.exp().sum(1) < top_p
    if flat.any():
        entropies[flat] = _cut(_sorted(logprobs_NV[flat]), top_p)
    return entropies


def _sorted(logprobs_NV: Tensor) -> Tensor:
    return logprobs_NV.sort(dim=1, descending=True).values


def _cut(falling_NK: Tensor, top_p: float) -> Tensor:
    """A token belongs to the nucleus if the mass before it is not enough."""
    shares = falling_NK.exp()
    before = shares.cumsum(1) - shares
    shares = shares.masked_fill(before >= top_p, 0.0)
    mass = shares.sum(1)
    return mass.log() - (shares * falling_NK).sum(1) / mass
