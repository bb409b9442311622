"""k3 from sampled tokens estimates the exact divergence, on the demo's trained model and real drawings."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from pgpo_async.algorithms.visual_dependency import exact_visual_dependency, token_visual_dependency
from pgpo_async.demo.shapes import question_kind, response_text, shapes_example, user_text
from pgpo_async.demo.tiny_vlm import tiny_vlm_path
from pgpo_async.policy.inputs import Collator, PromptGroup
from pgpo_async.policy.loading import load_policy, load_processor
from pgpo_async.policy.passes import score_groups

NUM_SAMPLES = 4000


def state(processor, index: int, depth: int) -> PromptGroup:
    """A prompt with the first `depth` tokens of a right answer to it, and no response yet."""
    example = shapes_example("train", 0, index)
    content = [{"type": "image"}, {"type": "text", "text": user_text(example.question)}]
    chat = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    image = Image.open(io.BytesIO(example.image_png))
    prompt = processor(text=[chat], images=[image])["input_ids"][0]
    answer = processor.tokenizer(response_text(question_kind(example.question), example.answer))["input_ids"][
        :depth
    ]
    return PromptGroup(
        prompt_token_ids=np.array([*prompt, *answer], np.int32), responses=(), images=(example.image_png,)
    )


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_k3_over_samples_agrees_with_the_exact_divergence_within_its_sampling_error(temperature):
    torch.set_num_threads(1)
    path = str(tiny_vlm_path())
    policy, processor = load_policy(path, dtype="float32"), load_processor(path)
    collator, generator = Collator(processor, policy.config), torch.Generator().manual_seed(0)
    scores, divergences = [], []
    for index in range(6):
        for depth in (0, 5, 8, 11):
            group = state(processor, index, depth)
            # One token of every kind tells both distributions of the state's next token, whole.
            vocabulary = policy.config.get_text_config().vocab_size
            banned = {policy.config.image_token_id, policy.config.video_token_id}
            every = [np.array([t], np.int32) for t in range(vocabulary) if t not in banned]
            kl, k3_V, probability_V = measured(policy, collator, group, every, temperature)
            # Over all tokens, k3's expectation is the divergence: no sampling, no tolerance for it.
            assert float((probability_V * k3_V).sum()) == pytest.approx(kl, rel=1e-3, abs=1e-5)
            # The spread is taken from all tokens, too: a rare token that the blind pass likes is a long tail,
            # which a sample's own spread does not show.
            spread = float((probability_V * (k3_V - kl).square()).sum().sqrt()) / NUM_SAMPLES**0.5
            drawn = torch.multinomial(probability_V, NUM_SAMPLES, replacement=True, generator=generator)
            scores.append((float(k3_V[drawn].mean()) - kl) / (spread + 1e-7))
            divergences.append(kl)
    assert max(divergences) > 0.3, "the image must matter somewhere"
    assert min(divergences) < 0.01, "and not everywhere"
    assert max(map(abs, scores)) < 4.5
    assert abs(sum(scores)) / len(scores) ** 0.5 < 3.5, "no bias to one side"


def measured(policy, collator, group, responses, temperature):
    """The exact divergence as the scorer gets it; k3 without bounds and probability, for each response."""
    filled = PromptGroup(
        prompt_token_ids=group.prompt_token_ids, responses=tuple(responses), images=group.images
    )
    (found,) = score_groups(
        policy, collator, [filled], pass_tokens=1 << 20, passes="exact", temperature=temperature
    )
    sighted, blind, kl = (torch.tensor(np.stack(rows)) for rows in (found.sighted, found.blind, found.kl))
    mask = torch.ones_like(sighted)
    bounds = {"log_ratio_clip": 80.0, "max_dependency": 1e30}
    exact = exact_visual_dependency(kl, mask)
    assert float(exact.max() - exact.min()) < 1e-5, "one state, one divergence"
    k3 = token_visual_dependency(sighted.double(), blind.double(), mask, **bounds)
    return float(exact.double().mean()), k3[:, 0], sighted[:, 0].double().exp()
