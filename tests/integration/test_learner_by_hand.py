"""The learner's step against the papers' formulas, written out with transformers, rollout by rollout.

One rank, on the demo model in float32, in a run without scorers, whose lag is 0.
"""

import io
import os
from dataclasses import replace

os.environ.update(RAY_ENABLE_UV_RUN_RUNTIME_ENV="0", RAY_AUTH_MODE="disabled")

import numpy as np
import pytest
import ray
import torch
from PIL import Image
from support.learner_probe import (
    MODEL,
    as_leases,
    ask_ranks,
    learner_config,
    scored_demo_group,
    start_ranks,
)
from transformers import Qwen2_5_VLForConditionalGeneration

from pgpo_async.algorithms.shaping import PapoShaper
from pgpo_async.config import RunConfig
from pgpo_async.policy.groups import prompt_group
from pgpo_async.policy.inputs import Collator
from pgpo_async.policy.loading import load_policy, load_processor
from pgpo_async.policy.masks import black_pixels, mask_name
from pgpo_async.policy.model_path import resolve_model_path

pytestmark = pytest.mark.timeout(600)

LR, EPS, GRAD_CLIP = 0.05, 0.1, 0.1


def config():
    """Synchronous DAPO: no lag, nothing shaped, no dual clip."""
    made = learner_config(ranks=1, stage=1).model_dump()
    made["algorithm"] |= {"shaper": {"name": "none"}, "dual_clip": None}
    made["train"] |= {"max_lag": 0, "num_steps": 4}
    made["learner"]["optimizer"] |= {"lr": LR, "eps": EPS, "grad_clip": GRAD_CLIP, "warmup_steps": 0}
    return RunConfig.model_validate(made)


@pytest.fixture(scope="module")
def groups():
    policy, processor = load_policy(MODEL, dtype="float32"), load_processor(MODEL)
    collator = Collator(processor, policy.config)
    made = [scored_demo_group(i, i != 1, policy, processor, collator).group for i in range(3)]
    rng = np.random.default_rng(0)

    def further(rollout):
        # The sampler's numbers lie off the trainer's, so that the clip has work to do.
        noise = rng.normal(0, 0.3, len(rollout.behaviour_logprobs)).astype(np.float32)
        return replace(rollout, behaviour_logprobs=rollout.behaviour_logprobs + noise)

    return [replace(group, rollouts=tuple(map(further, group.rollouts))) for group in made]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False)
    group = start_ranks(config(), tmp_path_factory.mktemp("published"))
    yield group
    group.shutdown()
    ray.shutdown()


class ByHand:
    """transformers' model, one rollout a forward, the whole vocabulary's log-softmax."""

    def __init__(self, weights):
        self.model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            resolve_model_path(MODEL), dtype=torch.float32, attn_implementation="eager"
        )
        with torch.no_grad():
            own = dict(self.model.named_parameters())
            for name, value in weights.items():
                own[name].copy_(value)
        self.processor = load_processor(MODEL)

    def logprobs(self, group, rollout, images):
        prompt = group.prompt_token_ids
        ids = torch.from_numpy(np.concatenate([prompt, rollout.response_token_ids]).astype(np.int64))[None]
        pixels = {}
        if images:
            pixels = self.processor.image_processor(images=images, return_tensors="pt")
        is_image = (ids == self.model.config.image_token_id).int()
        logits = self.model(input_ids=ids, mm_token_type_ids=is_image, **pixels).logits[0]
        table = logits[len(prompt) - 1 : -1].log_softmax(-1)
        return table.gather(1, ids[0, len(prompt) :, None])[:, 0]

    def gradients(self):
        return {name: p.grad.clone() for name, p in self.model.named_parameters()}


def pictures(group):
    return [Image.open(io.BytesIO(data)).convert("RGB") for data in group.prompt.images]


def blackened(group, masking, seed):
    """The prompt's pictures with PAPO's mask, one for all responses."""
    found = []
    for number, picture in enumerate(pictures(group)):
        pixels = np.array(picture)
        name = mask_name(seed, prompt_group(group).key, None, number)
        pixels[black_pixels(masking, name, *pixels.shape[:2])] = 0
        found.append(Image.fromarray(pixels))
    return found


def dapo_terms(model, group):
    """- min(r A, clip(r, 0.8, 1.28) A) of each token, and the log-probs."""
    rewards = torch.tensor([rollout.reward for rollout in group.rollouts], dtype=torch.float64)
    for rollout, reward in zip(group.rollouts, rewards, strict=True):
        advantage = float((reward - rewards.mean()) / (rewards.std() + 1e-6))
        logprobs = model.logprobs(group, rollout, pictures(group))
        ratio = (logprobs - torch.from_numpy(rollout.behaviour_logprobs)).exp()
        yield -torch.minimum(ratio * advantage, ratio.clamp(0.8, 1.28) * advantage), logprobs, rollout


def assert_close(found, expected, relative):
    for name, value in expected.items():
        error = (found[name] - value).norm() / value.norm().clamp(min=1e-9)
        assert error < relative, f"{name} differs by {error:.1e}"


def test_no_shaping_at_lag_0_is_a_dapo_step(ranks, groups):
    before = ask_ranks(ranks, "weights")
    model = ByHand(before)
    terms = [losses for group in groups for losses, *_ in dapo_terms(model, group)]
    loss = torch.cat(terms).sum() / sum(len(term) for term in terms)
    loss.backward()
    gradients = model.gradients()
    norm = torch.nn.utils.clip_grad_norm_(model.model.parameters(), GRAD_CLIP)
    torch.optim.AdamW(model.model.parameters(), lr=LR, eps=EPS, weight_decay=0.0).step()

    metrics = ranks.train_step(as_leases(groups), 0)
    assert metrics["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert metrics["grad_norm"] == pytest.approx(float(norm), rel=1e-5)
    assert metrics["clip_low_fraction"] > 0.02
    assert metrics["clip_high_fraction"] > 0.02
    assert metrics["is_weight_mean"] == 1
    assert_close(ask_ranks(ranks, "gradients"), gradients, relative=1e-5)
    after = ask_ranks(ranks, "weights")
    assert_close(after, dict(model.model.named_parameters()), relative=1e-5)
    assert max(float((after[name] - before[name]).abs().max()) for name in after) > 1e-4
    # Without shaping there is nothing to tell apart.
    assert metrics["grad_variance"] == metrics["grad_variance_unshaped"] > 0


def test_papos_gradient_is_autograds_on_its_formula(ranks, groups):
    ask_ranks(ranks, "set_shaper", "papo")
    shaper = PapoShaper()
    model = ByHand(ask_ranks(ranks, "weights"))
    policy_losses, divergences, masked_entropies, entropies = [], [], [], []
    for group in groups:
        masked_pictures = blackened(group, shaper.masking, seed=config().seed)
        for losses, logprobs, rollout in dapo_terms(model, group):
            masked = model.logprobs(group, rollout, masked_pictures)
            log_ratio = masked - logprobs
            policy_losses.append(losses)
            divergences.append((log_ratio.exp() - 1 - log_ratio).clamp(-10, 10))
            masked_entropies.append(-masked)
            entropies.append(-logprobs)
    loss = (
        torch.cat(policy_losses).mean()
        - shaper.gamma * torch.cat(divergences).mean()
        + shaper.eta_masked * torch.cat(masked_entropies).mean()
        + shaper.eta * torch.cat(entropies).mean()
    )
    loss.backward()
    metrics = ranks.train_step(as_leases(groups), 0)
    assert float(torch.cat(divergences).mean()) > 1e-4
    assert metrics["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert_close(ask_ranks(ranks, "gradients"), model.gradients(), relative=1e-5)
