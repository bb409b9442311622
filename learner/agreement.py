"""Whether generators and scorers agree where they must: log-probs of the same tokens under the same weights.

Owns the sums over responses that one version sampled whole and that this very version scored. There the two
engines differ by rounding alone; a stale cache, a missed update or another temperature shows here, and not
what training has changed meanwhile. Called by `step_metrics`.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from pgpo_async.contracts import ScoredGroup

NAMES = (
    "num_fresh_tokens",
    "fresh_kl_sum",
    "fresh_behaviour_sum",
    "fresh_proximal_sum",
    "fresh_square_sum",
    "fresh_product_sum",
)
_LARGEST_LOG_RATIO = 20.0


def agreement_sums(groups: Sequence[ScoredGroup]) -> dict[str, float]:
    """Sums over tokens of such responses: their number, k3, both log-probs, proximal squared, product."""
    pairs = [
        (rollout.behaviour_logprobs, proximal)
        for scored in groups
        for rollout, proximal in zip(scored.group.rollouts, scored.proximal_logprobs, strict=True)
        if {span.version for span in rollout.version_spans} == {scored.scorer_version}
    ]
    empty = [np.zeros(0, np.float64)]
    behaviour = np.concatenate([*empty, *(pair[0] for pair in pairs)])
    proximal = np.concatenate([*empty, *(pair[1] for pair in pairs)])
    log_ratio = np.clip(proximal - behaviour, -_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO)
    sums = (
        len(behaviour),
        (np.exp(log_ratio) - log_ratio - 1.0).sum(),
        behaviour.sum(),
        proximal.sum(),
        (proximal * proximal).sum(),
        (behaviour * proximal).sum(),
    )
    return {name: float(value) for name, value in zip(NAMES, sums, strict=True)}


def agreement(sums: Mapping[str, float]) -> dict[str, float]:
    """`fresh_mismatch_kl`, the mean k3 of KL(behaviour || proximal), and `fresh_slope`, of behaviour's
    log-probs on proximal's: 1 if they agree, about 1 / T if only one of them knows the temperature T.

    Without such tokens, or where all have the same log-prob, 0 and 1.
    """
    count = sums["num_fresh_tokens"]
    if not count:
        return {"fresh_mismatch_kl": 0.0, "fresh_slope": 1.0}
    mean_b, mean_p = sums["fresh_behaviour_sum"] / count, sums["fresh_proximal_sum"] / count
    variance = sums["fresh_square_sum"] / count - mean_p**2
    covariance = sums["fresh_product_sum"] / count - mean_b * mean_p
    slope = covariance / variance if variance > 1e-9 else 1.0
    return {"fresh_mismatch_kl": sums["fresh_kl_sum"] / count, "fresh_slope": slope}
