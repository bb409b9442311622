"""What all algorithms share: shape checks that name the argument, the compute type, masking that stops nan.

Does no maths of its own. Masking is by `torch.where` before any other operation, never by multiplying with
the mask: 0 x inf is nan, and one nan in padding would spoil every sum, and through it every gradient.
"""

import torch
from torch import Tensor


def check_same_shape(**named: Tensor) -> None:
    """Raise ValueError unless all tensors have the shape of the first; names are the keywords."""
    (first_name, first), *others = named.items()
    for name, tensor in others:
        if tensor.shape != first.shape:
            raise ValueError(
                f"{name} must have the shape of {first_name}, {list(first.shape)}, got {list(tensor.shape)}"
            )


def check_BT(**named: Tensor) -> None:
    """Raise ValueError unless all tensors are of one shape [B, T]."""
    name, first = next(iter(named.items()))
    if first.dim() != 2:
        raise ValueError(f"{name} must be of shape [B, T], got {list(first.shape)}")
    check_same_shape(**named)


def compute_dtype(*tensors: Tensor) -> torch.dtype:
    """float64 if any tensor is, else float32: half precision loses the small differences of log-probs."""
    return torch.float64 if any(tensor.dtype == torch.float64 for tensor in tensors) else torch.float32


def keep(values_BT: Tensor, mask_BT: Tensor, *, dtype: torch.dtype, fill: float = 0.0) -> Tensor:
    """`values_BT` in `dtype` where the bool mask is set, `fill` elsewhere, whatever padding holds."""
    return torch.where(mask_BT, values_BT.to(dtype), fill)


def masked_mean(values_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """Mean over the bool mask as a scalar; 0 where the mask is empty."""
    return torch.where(mask_BT, values_BT, 0.0).sum() / mask_BT.sum().clamp(min=1)
