"""Log-probs in chunks: exact, in float32, and never a vocabulary matrix of the whole batch."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from pgpo_async.policy.logprobs import LogProbHead

N, H, V = 700, 24, 5003


class LargestVocabularyTensor(TorchDispatchMode):
    """Remembers the most rows that any tensor with a vocabulary dimension had (the weight aside)."""

    rows = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for tensor in output if isinstance(output, tuple | list) else [output]:
            if isinstance(tensor, torch.Tensor) and tensor.ndim == 2 and tensor.shape[1] == V:
                self.rows = max(self.rows, tensor.shape[0] if tensor.shape[0] != H else 0)
        return output


def run(head: LogProbHead, temperature: float = 1.0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    hidden_NH = torch.randn(N, H, generator=torch.Generator().manual_seed(1)).requires_grad_()
    target_ids_N = torch.randint(V, (N,), generator=torch.Generator().manual_seed(2))
    head.weight.grad = None
    logprobs_N = head(hidden_NH, target_ids_N, temperature)
    (logprobs_N * torch.linspace(-1, 1, N)).sum().backward()
    assert hidden_NH.grad is not None
    assert head.weight.grad is not None
    return logprobs_N.detach(), hidden_NH.grad, head.weight.grad


def make_head(chunk_tokens: int) -> LogProbHead:
    torch.manual_seed(0)
    return LogProbHead.from_linear(nn.Linear(H, V, bias=False), chunk_tokens=chunk_tokens)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("chunk_tokens", [1, 64, 699, 700, 10_000])
def test_any_chunk_size_gives_the_full_log_softmax_and_its_gradients(
    chunk_tokens: int, temperature: float
) -> None:
    if chunk_tokens == 1 and temperature != 1.0:
        pytest.skip("700 chunks once are enough")
    head = make_head(chunk_tokens)
    hidden_NH = torch.randn(N, H, generator=torch.Generator().manual_seed(1)).requires_grad_()
    target_ids_N = torch.randint(V, (N,), generator=torch.Generator().manual_seed(2))
    table_NV = (hidden_NH @ head.weight.T / temperature).log_softmax(-1)
    expected = table_NV[torch.arange(N), target_ids_N]
    (expected * torch.linspace(-1, 1, N)).sum().backward()
    wanted = expected.detach(), hidden_NH.grad, head.weight.grad.clone()  # type: ignore[union-attr]
    for got, want in zip(run(head, temperature), wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_forward_and_backward_never_hold_more_than_a_chunk_of_logits() -> None:
    head = make_head(64)
    saved_rows = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim == 2 and tensor.shape[1] == V:
            saved_rows.append(tensor.shape[0])
        return tensor

    with LargestVocabularyTensor() as largest, torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        run(head)
    assert largest.rows == 64
    # What the forward pass keeps for the backward pass: inputs of chunks, no logits beyond the one at work.
    hidden_NH = torch.randn(N, H).requires_grad_()
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        head(hidden_NH, torch.zeros(N, dtype=torch.int64))
    assert all(size < 64 * V for size in kept)


def test_without_chunks_the_bound_would_be_seen() -> None:
    with LargestVocabularyTensor() as largest:
        run(make_head(N))
    assert largest.rows == N


def test_bfloat16_weights_give_float32_log_probs_normalised_in_float32() -> None:
    head = make_head(64).bfloat16()
    hidden_NH = torch.randn(5, H).bfloat16()
    logprobs_NV = torch.stack([head(hidden_NH, torch.full((5,), token)) for token in range(V)], dim=1)
    assert logprobs_NV.dtype == torch.float32
    torch.testing.assert_close(logprobs_NV.exp().sum(-1), torch.ones(5), rtol=1e-4, atol=1e-4)


def test_without_targets_the_head_is_the_linear_layer_it_replaced() -> None:
    layer = nn.Linear(H, V)
    head = LogProbHead.from_linear(layer)
    hidden = torch.randn(2, 3, H)
    assert torch.equal(head(hidden), layer(hidden))
    assert head.weight is layer.weight
    with pytest.raises(ValueError, match="chunk_tokens must be at least 1, got 0"):
        LogProbHead.from_linear(layer, chunk_tokens=0)
