"""The GPU's kernels against the CPU's float32, within bfloat16's own noise. Run with `pytest -m gpu`."""

import pytest
import torch

from pgpo_async.bench.models import THREE_B_LIKE, BenchModel, random_group, random_model

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")]

RESPONSES = [40, 1, 0, 17, 64, 64]


@pytest.fixture(scope="module")
def exact() -> BenchModel:
    return random_model(THREE_B_LIKE, dtype=torch.float32, device=torch.device("cpu"))


def on_gpu(exact: BenchModel, dtype: torch.dtype) -> BenchModel:
    model = random_model(THREE_B_LIKE, dtype=dtype, device=torch.device("cuda"))
    model.policy.load_state_dict(exact.policy.state_dict())
    return model


def run(model: BenchModel, *, blind: bool) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    groups = [
        random_group(model, image_tokens=300, text_tokens=20, responses=RESPONSES, seed=seed)
        for seed in (1, 2)
    ]
    model.policy.zero_grad()
    scores = model.policy(model.collator(groups, blind=blind).to(model.policy.device))
    (
        scores.logprobs * torch.linspace(-1, 1, len(scores.logprobs), device=model.policy.device)
    ).sum().backward()
    grads = {n: p.grad.float().cpu() for n, p in model.policy.named_parameters() if p.grad is not None}
    return scores.logprobs.detach().cpu(), grads


def relative(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> float:
    difference = sum(float((found[name] - grad).square().sum()) for name, grad in wanted.items())
    return float((difference / sum(float(grad.square().sum()) for grad in wanted.values())) ** 0.5)


@pytest.mark.parametrize("blind", [False, True], ids=["sighted", "blind"])
def test_float32_on_a_gpu_equals_the_cpu(exact: BenchModel, blind: bool) -> None:
    logprobs, grads = run(exact, blind=blind)
    found, found_grads = run(on_gpu(exact, torch.float32), blind=blind)
    torch.testing.assert_close(found, logprobs, rtol=1e-3, atol=1e-3)
    assert relative(found_grads, grads) < 1e-3


@pytest.mark.parametrize("blind", [False, True], ids=["sighted", "blind"])
def test_flash_in_bfloat16_is_as_near_to_float32_as_plain_maths_in_bfloat16(
    exact: BenchModel, blind: bool
) -> None:
    logprobs, grads = run(exact, blind=blind)
    model = on_gpu(exact, torch.bfloat16)
    errors = {}
    for kernel in ("math", "flash"):
        model.policy.attention = kernel  # type: ignore[assignment]
        found, found_grads = run(model, blind=blind)
        errors[kernel] = (float((found - logprobs).abs().mean()), relative(found_grads, grads))
    for flash, math in zip(errors["flash"], errors["math"], strict=True):
        assert flash < 1.3 * math + 1e-4, errors
