"""Log-probs, entropy, divergence by slices of the vocabulary: exact, never a whole matrix of logits."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from pgpo_async.policy.logprobs import DivergenceScores, LogProbHead, TokenScores

N, H, V = 300, 24, 5003


def make_head(slice_elements: int | None = None, *, vocabulary: int = V, bias: bool = False) -> LogProbHead:
    torch.manual_seed(0)
    return LogProbHead.from_linear(nn.Linear(H, vocabulary, bias=bias), slice_elements=slice_elements)


def loss(scores: TokenScores, weight: float) -> torch.Tensor:
    """Each token its own weight; with `weight` the entropy counts too."""
    count = len(scores.logprobs)
    total = (scores.logprobs * torch.linspace(-1, 1, count)).sum()
    if scores.entropy is not None:
        total = total + weight * (scores.entropy * torch.linspace(1, -2, count)).sum()
    return total


def full(head: LogProbHead, hidden: torch.Tensor, targets: torch.Tensor, temperature: float) -> TokenScores:
    table = (nn.functional.linear(hidden, head.weight, head.bias) / temperature).log_softmax(-1)
    return TokenScores(table.gather(1, targets[:, None])[:, 0], -(table.exp() * table).sum(-1))


@given(
    tokens=st.integers(0, 40),
    vocabulary=st.integers(1, 1300),
    width=st.integers(1, 700),
    temperature=st.sampled_from([1.0, 0.6, 1.7]),
    bias=st.booleans(),
    entropy=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_any_slice_gives_the_full_log_softmax_its_entropy_and_all_gradients(
    tokens: int, vocabulary: int, width: int, temperature: float, bias: bool, entropy: bool
) -> None:
    head = make_head(vocabulary=vocabulary, bias=bias)
    head._width = lambda _: width  # type: ignore[method-assign]
    hidden = (3 * torch.randn(tokens, H)).requires_grad_()
    targets = torch.randint(vocabulary, (tokens,))
    inputs = [hidden, *head.parameters()]
    expected = full(head, hidden, targets, temperature)
    wanted = torch.autograd.grad(loss(expected, float(entropy)), inputs)
    found = head(hidden, targets, temperature, entropy=entropy)
    torch.testing.assert_close(found.logprobs, expected.logprobs, rtol=1e-5, atol=2e-5)
    if entropy:
        torch.testing.assert_close(found.entropy, expected.entropy, rtol=1e-4, atol=2e-5)
    else:
        assert found.entropy is None
    for mine, theirs in zip(torch.autograd.grad(loss(found, 1.0), inputs), wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=5e-5)


def test_the_entropy_alone_can_be_trained_on() -> None:
    head, hidden = make_head(N * 700), torch.randn(N, H, requires_grad=True)
    targets = torch.zeros(N, dtype=torch.long)
    (found,) = torch.autograd.grad(head(hidden, targets, entropy=True).entropy.sum(), hidden)
    (wanted,) = torch.autograd.grad(full(head, hidden, targets, 1.0).entropy.sum(), hidden)  # type: ignore[union-attr]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("width", [1, 512, V])
def test_the_divergence_is_the_sum_over_the_whole_vocabulary(width: int) -> None:
    head = make_head()
    head._width = lambda _: width  # type: ignore[method-assign]
    sighted, blind = torch.randn(40, H), torch.randn(40, H)
    blind[:3] = sighted[:3]
    targets = torch.randint(V, (40,))
    found: DivergenceScores = head(sighted, targets, 0.7, blind_hidden=blind)
    tables = [(h.double() @ head.weight.double().T / 0.7).log_softmax(-1) for h in (sighted, blind)]
    expected = (tables[0].exp() * (tables[0] - tables[1])).sum(-1).float()
    torch.testing.assert_close(found.kl, expected, rtol=1e-4, atol=3e-6)
    assert (found.kl[:3] < 1e-5).all()
    assert (found.kl >= 0).all()
    for table, mine in zip(tables, (found.sighted_logprobs, found.blind_logprobs), strict=True):
        torch.testing.assert_close(
            mine, table.float().gather(1, targets[:, None])[:, 0], rtol=1e-5, atol=1e-5
        )


class Largest(TorchDispatchMode):
    """Remembers the most elements that any tensor of [N, more than H] had."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for tensor in output if isinstance(output, tuple | list) else [output]:
            if isinstance(tensor, torch.Tensor) and tensor.ndim == 2 and tensor.shape[0] == N:
                self.elements = max(self.elements, tensor.numel())
        return output


def run(head: LogProbHead) -> None:
    hidden = torch.randn(N, H, requires_grad=True)
    loss(head(hidden, torch.zeros(N, dtype=torch.long), entropy=True), 1.0).backward()


def test_forward_and_backward_never_hold_more_than_a_slice_of_logits() -> None:
    with Largest() as largest:
        run(make_head(N * 600))
    assert largest.elements == N * 600
    with Largest() as largest:
        run(make_head(N * V))
    assert largest.elements == N * V, "without slices it would be seen"


def test_the_forward_pass_keeps_no_logits_for_the_backward_pass() -> None:
    head, kept = make_head(N * 600), {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() != head.weight.untyped_storage().data_ptr():
            kept[tensor.untyped_storage().data_ptr()] = tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        scores = head(torch.randn(N, H).requires_grad_(), torch.zeros(N, dtype=torch.long), entropy=True)
    assert scores.logprobs.requires_grad  # and the graph, with what it saved, is still alive
    assert sum(kept.values()) <= N * (H + 3)


def test_bfloat16_weights_give_float32_log_probs_normalised_in_float32() -> None:
    head = make_head(64 * 512).bfloat16()
    hidden = torch.randn(1, H).bfloat16()
    found = head(hidden.expand(V, H), torch.arange(V)).logprobs
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.exp().sum(), torch.tensor(1.0), rtol=1e-4, atol=1e-4)


def test_bfloat16_gradients_are_as_exact_as_without_slices() -> None:
    hidden = torch.randn(N, H).bfloat16()
    targets = torch.randint(V, (N,))
    errors = {}
    exact = gradient(make_head(N * V), hidden.float(), targets)
    for width in (V, 512):
        errors[width] = (gradient(make_head(N * width).bfloat16(), hidden, targets).float() - exact).norm()
    assert errors[512] < 1.05 * errors[V]


def gradient(head: LogProbHead, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    loss(head(hidden, targets), 0.0).backward()
    assert head.weight.grad is not None
    return head.weight.grad


def test_without_targets_the_head_is_the_linear_layer_it_replaced() -> None:
    layer = nn.Linear(H, V)
    head = LogProbHead.from_linear(layer)
    hidden = torch.randn(2, 3, H)
    assert torch.equal(head(hidden), layer(hidden))
    assert head.weight is layer.weight
    with pytest.raises(ValueError, match="slice_elements must be at least 1, got 0"):
        LogProbHead.from_linear(layer, slice_elements=0)
