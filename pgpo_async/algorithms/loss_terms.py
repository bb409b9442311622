"""What is added to the policy loss: the terms of a shaping method (PAPO, VPPO), the reference KL.

Each takes a `normalizer` as the policy loss does. Offered by `losses` too; called by the learner.
"""

from torch import Tensor

from pgpo_async.algorithms.aggregation import aggregate
from pgpo_async.algorithms.divergence import k3
from pgpo_async.algorithms.shaping.interface import LossTerms
from pgpo_async.algorithms.tensors import check_BT, compute_dtype, keep


def papo_terms(
    logprobs_BT: Tensor,
    masked_logprobs_BT: Tensor,
    mask_BT: Tensor,
    *,
    gamma: float,
    eta_masked: float,
    eta: float,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """What PAPO (arXiv 2507.06448) adds to the loss: - gamma KL_prcp + eta_masked H(masked) + eta H.

    KL_prcp is the mean k3 of KL(current || image-masked), at most 10 a token; each H is a mean of -log-prob.
    Gradient flows into both sets of log-probs.

    Args:
        logprobs_BT: of the policy in training, nats.
        masked_logprobs_BT: of the same policy with the image masked, nats.
        mask_BT: 1 on response tokens.
        gamma: coefficient of the KL, which the loss drives up.
        eta_masked: coefficient of the masked pass's entropy.
        eta: coefficient of the sighted pass's entropy.
        normalizer: token count of the whole optimizer step, by default the number of mask tokens.

    Raises:
        ValueError: the shapes are not one [B, T].
    """
    check_BT(logprobs_BT=logprobs_BT, masked_logprobs_BT=masked_logprobs_BT, mask_BT=mask_BT)
    terms = LossTerms(perception=gamma, masked_entropy=eta_masked, entropy=eta)
    terms_BT = token_terms(logprobs_BT, masked_logprobs_BT, mask_BT, terms)
    return aggregate(terms_BT, mask_BT, normalizer=normalizer)


def token_terms(
    logprobs_BT: Tensor, masked_logprobs_BT: Tensor | None, mask_BT: Tensor, terms: LossTerms
) -> Tensor:
    """What a method adds to each token's loss (see `LossTerms`), 0 in padding; `papo_terms` is its mean.

    Raises:
        ValueError: the shapes are not one [B, T], or the masked log-probs that a term reads are missing.
    """
    check_BT(logprobs_BT=logprobs_BT, mask_BT=mask_BT)
    real_BT = mask_BT != 0
    current_BT = keep(logprobs_BT, real_BT, dtype=compute_dtype(logprobs_BT))
    added_BT = -terms.entropy * current_BT
    if not terms.needs_masked_pass:
        return added_BT
    if masked_logprobs_BT is None:
        raise ValueError("masked_logprobs_BT must be given for a term of the masked image, got None")
    check_BT(masked_logprobs_BT=masked_logprobs_BT, mask_BT=mask_BT)
    masked_BT = keep(masked_logprobs_BT, real_BT, dtype=compute_dtype(logprobs_BT, masked_logprobs_BT))
    return added_BT - terms.perception * k3(current_BT, masked_BT) - terms.masked_entropy * masked_BT


def reference_kl(
    logprobs_BT: Tensor,
    ref_logprobs_BT: Tensor,
    mask_BT: Tensor,
    *,
    normalizer: float | Tensor | None = None,
) -> Tensor:
    """Mean k3 of KL(current || reference) over the mask, nats, as a scalar; gradient into `logprobs_BT` only.

    GRPO (arXiv 2402.03300, eq. 4). The caller multiplies by its coefficient, 0 by default.

    Raises:
        ValueError: the shapes are not one [B, T].
    """
    check_BT(logprobs_BT=logprobs_BT, ref_logprobs_BT=ref_logprobs_BT, mask_BT=mask_BT)
    real_BT = mask_BT != 0
    dtype = compute_dtype(logprobs_BT, ref_logprobs_BT)
    kl_BT = k3(keep(logprobs_BT, real_BT, dtype=dtype), keep(ref_logprobs_BT.detach(), real_BT, dtype=dtype))
    return aggregate(kl_BT, real_BT, normalizer=normalizer)
