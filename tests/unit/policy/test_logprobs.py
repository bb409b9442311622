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


@pytest.mark.parametrize(
    ("chunk_tokens", "temperature"), [(7, 1.0), (64, 1.0), (64, 0.7), (699, 1.0), (700, 0.7), (10_000, 1.0)]
)
def test_any_chunk_size_gives_the_full_log_softmax_and_its_gradients(
    chunk_tokens: int, temperature: float
) -> None:
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
    with LargestVocabularyTensor() as largest:
        run(head)
    assert largest.rows == 64


def test_the_forward_pass_keeps_no_logits_for_the_backward_pass() -> None:
    assert kept_between_passes(make_head(N)) >= N * V
    assert kept_between_passes(make_head(64)) < 64 * V


def kept_between_passes(head: LogProbHead) -> int:
    """Numbers in the tensors that autograd saves, the weight aside."""
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() != head.weight.untyped_storage().data_ptr():
            kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        logprobs_N = head(torch.randn(N, H).requires_grad_(), torch.zeros(N, dtype=torch.int64))
    assert logprobs_N.requires_grad  # and the graph, with what it saved, is still alive
    return sum(kept.values())


def test_without_chunks_the_bound_would_be_seen() -> None:
    with LargestVocabularyTensor() as largest:
        run(make_head(N))
    assert largest.rows == N


def test_bfloat16_weights_give_float32_log_probs_normalised_in_float32() -> None:
    head = make_head(64).bfloat16()
    hidden_H = torch.randn(1, H).bfloat16()
    logprobs_V = head(hidden_H.expand(V, H), torch.arange(V))
    assert logprobs_V.dtype == torch.float32
    torch.testing.assert_close(logprobs_V.exp().sum(), torch.tensor(1.0), rtol=1e-4, atol=1e-4)


def test_without_targets_the_head_is_the_linear_layer_it_replaced() -> None:
    layer = nn.Linear(H, V)
    head = LogProbHead.from_linear(layer)
    hidden = torch.randn(2, 3, H)
    assert torch.equal(head(hidden), layer(hidden))
    assert head.weight is layer.weight
    with pytest.raises(ValueError, match="chunk_tokens must be at least 1, got 0"):
        LogProbHead.from_linear(layer, chunk_tokens=0)
