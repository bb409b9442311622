"""`pgpo-async bench variance`: how much each method's policy gradient varies, on one and the same batch.

On policy (ratio 1) the gradient of a response is the sum of A w_t d log p_t over its tokens, divided by all
tokens of the batch. Every response's gradient at all weights is taken with autograd, one backward pass for
each method, and beside it the learner's estimate, which sees the final norm's weights only
(`learner.grad_variance`).
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pgpo_async.algorithms.rows import row_mask, unpad_rows
from pgpo_async.algorithms.shaping import Shaper, Signals, make_shaper
from pgpo_async.algorithms.shaping.interface import SIGNAL_OF
from pgpo_async.bench.one_batch import MODEL, JudgedBatch, judged_batch
from pgpo_async.learner.grad_variance import spread
from pgpo_async.policy.inputs import Collator
from pgpo_async.policy.loading import load_policy, load_processor
from pgpo_async.policy.model import PolicyModel
from pgpo_async.policy.passes import GroupScores, Wanted, score_groups
from pgpo_async.policy.signals import signals

PASS_TOKENS = 8192


@dataclass(frozen=True, kw_only=True, slots=True)
class Method:
    """A shaper with its parameters; `exact` measures its dependency over the whole vocabulary."""

    name: str
    shaper: str
    params: dict[str, Any]
    exact: bool = False


METHODS = (
    Method(name="none", shaper="none", params={}),
    Method(name="pgpo", shaper="pgpo", params={}),
    Method(name="pgpo, exact", shaper="pgpo", params={}, exact=True),
    Method(name="pgpo, w <= 4", shaper="pgpo", params={"max_weight": 4.0}),
    Method(name="pgpo, no mass", shaper="pgpo", params={"mass_normalization": False}),
    Method(name="vppo", shaper="vppo", params={}),
    Method(name="tor", shaper="tor", params={}),
    Method(name="pepo", shaper="pepo", params={}),
)
"""The first is what the others are compared with. Of `pgpo`: with the dependency over the whole vocabulary,
with `max_weight`, and without mass normalization."""


class _Moments:
    """Sum of some vectors, of their squared norms, and how many there are."""

    def __init__(self) -> None:
        self.total: Tensor | float = 0.0
        self.squares, self.count = 0.0, 0

    def add(self, vector: Tensor) -> None:
        wide = vector.double()
        self.total = self.total + wide
        self.squares += float(wide.square().sum())
        self.count += 1

    def spread(self) -> tuple[float, float]:
        assert isinstance(self.total, Tensor)
        return spread(self.total, self.squares, self.count)


def bench_variance(
    *, num_prompts: int, group_size: int, seed: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """The figures of all methods; a variance is the trace of the batch gradient's, responses independent.

    `variance_ratio` and `final_norm_variance_ratio` are by the first method's.
    """
    started_s = time.perf_counter()
    say("sampling")
    batch = judged_batch(num_prompts=num_prompts, group_size=group_size, seed=seed)
    policy = load_policy(MODEL, dtype="float32")
    collator = Collator(load_processor(MODEL), policy.config)
    say("scoring")
    weights = [_weights(method, batch, policy, collator, seed) for method in METHODS]
    whole, norm = _gradients(batch, weights, policy, collator, say)
    rows = []
    for number, (method, weights_BT) in enumerate(zip(METHODS, weights, strict=True)):
        (variance, snr), (norm_variance, norm_snr) = whole[number].spread(), norm[number].spread()
        real = weights_BT[_mask(batch)]
        rows.append(
            {
                "method": method.name,
                "variance": variance,
                "variance_ratio": variance / whole[0].spread()[0],
                "final_norm_variance_ratio": norm_variance / norm[0].spread()[0],
                "signal_to_noise": snr,
                "final_norm_signal_to_noise": norm_snr,
                "weight_max": float(real.max()),
                "weight_mean": float(real.mean()),
                "weight_square_mean": float(real.square().mean()),
            }
        )
    return {
        "model": MODEL,
        "num_responses": len(batch.advantages_B),
        "num_tokens": int(_mask(batch).sum()),
        "accuracy": batch.accuracy,
        "num_groups_without_signal": batch.num_dropped,
        "seconds": time.perf_counter() - started_s,
        "methods": rows,
    }


def _mask(batch: JudgedBatch) -> Tensor:
    return row_mask([len(response) for group in batch.groups for response in group.responses])


def _weights(
    method: Method, batch: JudgedBatch, policy: PolicyModel, collator: Collator, seed: int
) -> Tensor:
    """[B, T], of the whole batch at the end of training (where a method fades in)."""
    shaper: Shaper = make_shaper(method.shaper, **method.params)
    wanted = Wanted.by(shaper, exact=method.exact, seed=seed)
    scores = score_groups(policy, collator, batch.groups, pass_tokens=PASS_TOKENS, passes=wanted)
    mask_BT = _mask(batch)
    found = signals(_joined(scores, wanted), mask_BT)
    needed = {SIGNAL_OF[need]: found[SIGNAL_OF[need]] for need in shaper.needs}
    has_image_B = torch.ones(len(mask_BT), dtype=torch.bool)
    shaped = shaper.shape(Signals(mask_BT=mask_BT, has_image_B=has_image_B, progress=1.0, **needed))
    return shaped.weights_BT


def _joined(scores: Sequence[GroupScores], wanted: Wanted) -> GroupScores:
    """All groups as one."""
    return GroupScores(
        **{name: tuple(row for group in scores for row in getattr(group, name)) for name in wanted.names}
    )


def _gradients(
    batch: JudgedBatch,
    weights: Sequence[Tensor],
    policy: PolicyModel,
    collator: Collator,
    say: Callable[[str], None],
) -> tuple[list[_Moments], list[_Moments]]:
    """For each method the moments of the responses' gradients, at all weights and at the final norm's."""
    whole, norm = [_Moments() for _ in weights], [_Moments() for _ in weights]
    parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    lengths = [len(response) for group in batch.groups for response in group.responses]
    rows = [unpad_rows(weights_BT, lengths) for weights_BT in weights]
    alone = [group.select([i]) for group in batch.groups for i in range(len(group.responses))]
    for b, group in enumerate(alone):
        say(f"gradients of response {b + 1} of {len(alone)}")
        scores = policy(collator([group]), readout=True)
        for method, row in enumerate(rows):
            slopes_T = -batch.advantages_B[b] * torch.from_numpy(row[b]) / sum(lengths)
            gradients = torch.autograd.grad((slopes_T * scores.logprobs).sum(), parameters, retain_graph=True)
            whole[method].add(torch.cat([gradient.flatten() for gradient in gradients]))
            norm[method].add(slopes_T @ scores.readout)
    return whole, norm
