"""The elementwise functions equal transformers' own lines, gradients too, in both precisions."""

import pytest
import torch
from torch import Tensor
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VLRMSNorm,
    apply_rotary_pos_emb,
    apply_rotary_pos_emb_vision,
)

from pgpo_async.policy.elementwise import gated_silu, rms_norm, rotate

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 2.0**-6}
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE, ids=str)


def noise(*shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    values = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
    return values.to(dtype).requires_grad_()


def assert_same(ours: Tensor, theirs: Tensor, inputs: list[Tensor]) -> None:
    """Outputs and gradients of the inputs, with a gradient that differs by element."""
    tolerance = TOLERANCE[theirs.dtype]
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
    grad = noise(*theirs.shape, dtype=theirs.dtype, seed=9).detach()
    found = torch.autograd.grad(ours, inputs, grad)
    for mine, wanted in zip(found, torch.autograd.grad(theirs, inputs, grad), strict=True):
        assert mine.dtype == wanted.dtype
        scale = float(wanted.abs().max())
        torch.testing.assert_close(mine, wanted, rtol=tolerance, atol=tolerance * scale)


@DTYPES
def test_rms_norm_is_transformers_own(dtype: torch.dtype) -> None:
    norm = Qwen2_5_VLRMSNorm(32, eps=1e-3).to(dtype)
    norm.weight = torch.nn.Parameter(noise(32, dtype=dtype, seed=1))
    hidden = noise(2, 7, 32, dtype=dtype)
    ours = rms_norm(hidden, norm.weight, 1e-3)
    assert_same(ours, norm(hidden), [hidden, norm.weight])


def test_rms_norm_in_bfloat16_rounds_as_transformers_does() -> None:
    norm = Qwen2_5_VLRMSNorm(256).to(torch.bfloat16)
    hidden = noise(64, 256, dtype=torch.bfloat16)
    assert torch.equal(rms_norm(hidden, norm.weight, 1e-6), norm(hidden))


@DTYPES
def test_rotary_positions_are_transformers_own_in_text_and_tower(dtype: torch.dtype) -> None:
    # The two halves of a table differ here, so that a half taken for the other would show.
    cos, sin = (noise(5, 16, dtype=dtype, seed=seed).detach() for seed in (2, 3))
    heads = noise(5, 3, 16, dtype=dtype)
    row = heads.transpose(0, 1).unsqueeze(0)
    theirs, _ = apply_rotary_pos_emb(row, row, cos.unsqueeze(0), sin.unsqueeze(0))
    assert_same(rotate(heads, cos, sin), theirs[0].transpose(0, 1), [heads])
    theirs, _ = apply_rotary_pos_emb_vision(heads, heads, cos.float(), sin.float())
    assert_same(rotate(heads, cos.float(), sin.float()), theirs, [heads])


@DTYPES
def test_gated_silu_is_the_product_with_and_without_gradient(dtype: torch.dtype) -> None:
    gate, up = noise(4, 9, dtype=dtype), noise(4, 9, dtype=dtype, seed=1)
    theirs = torch.nn.functional.silu(gate) * up
    assert_same(gated_silu(gate, up), theirs, [gate, up])
    with torch.no_grad():
        torch.testing.assert_close(gated_silu(gate.clone(), up), theirs)
