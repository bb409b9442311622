"""What several methods share: the cleaning of a signal, and the metrics that any weights have."""

from torch import Tensor

from pgpo_async.algorithms.tensors import compute_dtype, keep, masked_mean


def clean_signal(values_BT: Tensor, real_BT: Tensor, name: str, *, signed: bool = False) -> Tensor:
    """The signal in the compute dtype, without gradient, 0 outside the bool mask whatever it holds there.

    Raises:
        ValueError: at a token of the mask it is not finite, or negative without `signed`.
    """
    kept_BT = keep(values_BT.detach(), real_BT, dtype=compute_dtype(values_BT))
    possible_BT = kept_BT.isfinite() if signed else kept_BT.isfinite() & (kept_BT >= 0)
    if not bool(possible_BT.all()):
        wanted = "finite" if signed else "finite and not negative"
        raise ValueError(f"{name} must be {wanted} at response tokens, got other values")
    return kept_BT


def weight_metrics(weights_BT: Tensor, real_BT: Tensor, imaged_BT: Tensor) -> dict[str, Tensor]:
    """Over response tokens `num_tokens`, `weight_mean`, `weight_max`; `num_image_tokens` of the second mask.

    To combine batches, weigh means by counts.
    """
    return {
        "num_tokens": real_BT.sum(),
        "weight_mean": masked_mean(weights_BT, real_BT),
        "weight_max": weights_BT.amax() if weights_BT.numel() else weights_BT.new_zeros(()),
        "num_image_tokens": imaged_BT.sum(),
    }
