"""The estimate of the gradient's variance against the gradients themselves."""

import numpy as np
import pytest
import torch

from pgpo_async.demo.shapes import shapes_example
from pgpo_async.demo.warm_start import prompt_text
from pgpo_async.learner.grad_variance import GradVariance, spread
from pgpo_async.policy.inputs import Collator, PromptGroup
from pgpo_async.policy.loading import load_policy, load_processor


def test_spread_is_the_variance_of_a_sum_of_independent_vectors():
    torch.manual_seed(0)
    vectors = torch.randn(6, 5, dtype=torch.float64)
    variance, ratio = spread(vectors.sum(0), float(vectors.square().sum()), 6)
    assert variance == pytest.approx(6 * float(vectors.var(dim=0).sum()))
    assert ratio == pytest.approx(float(vectors.sum(0).square().sum()) / variance)
    assert spread(torch.zeros(5), 0.0, 1) == (0.0, 0.0)
    same = torch.ones(4, 3, dtype=torch.float64)
    assert spread(same.sum(0), float(same.square().sum()), 4) == (0.0, 0.0)


def test_the_sums_are_those_of_each_rollouts_gradient_at_the_final_norm(monkeypatch):
    policy, processor = load_policy("builtin:tiny-vlm", dtype="float32"), load_processor("builtin:tiny-vlm")
    example = shapes_example("train", 0, 0)
    rng = np.random.default_rng(0)
    pixel_tokens = 9
    text = prompt_text(processor, example.question).replace("<|image_pad|>", "<|image_pad|>" * pixel_tokens)
    group = PromptGroup(
        prompt_token_ids=np.array(processor.tokenizer(text)["input_ids"], np.int32),
        responses=tuple(rng.integers(60, 200, n).astype(np.int32) for n in (7, 0, 4)),
        images=(example.image_png,),
    )
    inputs = Collator(processor, policy.config)([group])
    scores = policy(inputs, 0.8, readout=True)
    slopes_N = torch.randn(11)
    norm = policy.model.model.language_model.norm.weight
    expected = []
    for part_N, logprobs in zip(inputs.split(slopes_N), inputs.split(scores.logprobs), strict=True):
        if len(part_N):
            (gradient,) = torch.autograd.grad((part_N * logprobs).sum(), norm, retain_graph=True)
            expected.append((gradient * norm).detach().double())
        else:
            expected.append(torch.zeros(len(norm), dtype=torch.float64))
    vectors = torch.stack(expected)

    monkeypatch.setattr(torch.distributed, "all_reduce", lambda _: None)
    meter = GradVariance(len(norm), torch.device("cpu"))
    meter.add(scores.readout[:7], (slopes_N[:7], torch.zeros(7)), [7])
    meter.add(scores.readout[7:], (slopes_N[7:], torch.zeros(4)), [0, 4])
    found = meter.over_ranks()
    variance, ratio = spread(vectors.sum(0), float(vectors.square().sum()), 3)
    assert found["grad_variance"] == pytest.approx(variance, rel=1e-4)
    assert found["grad_snr"] == pytest.approx(ratio, rel=1e-4)
    assert found["grad_variance_unshaped"] == 0
