"""Log-probs by slices of the vocabulary against the full matrix of logits: time and memory.

At Qwen2.5-VL-3B's head by default: 2048 tokens, hidden 2048, vocabulary 151,936. Where liger-kernel is
installed, beside its fused GRPO loss, which is a loss and no log-probs: it makes gradients in its forward and
so saves a product, and has no place for shaped advantages, decoupled ratios or metrics. Called by `policy`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pgpo_async.bench.timing import PeakMemory, timed
from pgpo_async.policy.logprobs import LogProbHead

Way = Callable[[], Tensor]


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadFigures:
    """Seconds of a forward and backward, and bytes beyond inputs, weight and weight gradient."""

    full_s: float
    sliced_s: float
    full_bytes: int
    sliced_bytes: int
    liger_s: float | None
    liger_bytes: int | None

    @property
    def time_ratio(self) -> float:
        """Sliced / full."""
        return self.sliced_s / self.full_s

    @property
    def peak_ratio(self) -> float:
        """Sliced / full."""
        return self.sliced_bytes / self.full_bytes


def measure_head(
    device: torch.device,
    *,
    tokens: int = 2048,
    hidden: int = 2048,
    vocabulary: int = 151_936,
    dtype: torch.dtype = torch.float32,
    repeats: int = 1,
) -> HeadFigures:
    """Measure both ways in turns, forward and backward."""
    torch.manual_seed(0)
    with torch.device(device):
        head = LogProbHead.from_linear(nn.Linear(hidden, vocabulary, bias=False, dtype=dtype))
        states = torch.randn(tokens, hidden, dtype=dtype, requires_grad=True)
        targets = torch.randint(vocabulary, (tokens,))
        weights = torch.linspace(-1, 1, tokens)

    def full() -> Tensor:
        logits = nn.functional.linear(states, head.weight).float()
        return logits.log_softmax(-1).gather(1, targets.unsqueeze(1)).squeeze(1)

    def sliced() -> Tensor:
        scores: Tensor = head(states, targets).logprobs
        return scores

    def step(way: Way) -> Callable[[], None]:
        return lambda: torch.autograd.backward((way() * weights).sum())

    ways: dict[str, Callable[[], None]] = {"full": step(full), "sliced": step(sliced)}
    liger = _liger(head.weight, states, targets, weights)
    if liger is not None:
        ways["liger"] = liger
    seconds: dict[str, float] = {}
    extra: dict[str, int] = {}
    for _ in range(repeats):
        for name, way in ways.items():
            head.weight.grad = states.grad = None
            with PeakMemory(device) as memory:
                seconds[name] = min(seconds.get(name, float("inf")), timed(way, device))
            extra[name] = memory.extra_bytes - head.weight.nbytes
    return HeadFigures(
        full_s=seconds["full"],
        sliced_s=seconds["sliced"],
        full_bytes=extra["full"],
        sliced_bytes=extra["sliced"],
        liger_s=seconds.get("liger"),
        liger_bytes=extra.get("liger"),
    )


def _liger(weight: Tensor, states: Tensor, targets: Tensor, weights: Tensor) -> Callable[[], None] | None:
    try:
        from liger_kernel.chunked_loss import LigerFusedLinearGRPOLoss
    except ImportError:
        return None
    num_sequences, hidden = 8, states.shape[-1]
    # Compiled on a GPU only: on a CPU that needs a compiler.
    loss = LigerFusedLinearGRPOLoss(beta=0.0, compiled=states.is_cuda, use_ref_model=False)
    mask = torch.ones_like(targets.view(num_sequences, -1))
    advantages = weights[:num_sequences].to(states.dtype)

    def run() -> None:
        value, _ = loss(
            states.view(num_sequences, -1, hidden), weight, targets.view(num_sequences, -1), mask, advantages
        )
        torch.autograd.backward(value)

    return run
