"""Entropy of the nucleus and hidden similarity, against plain code on transformers' own outputs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pgpo_async.policy.inputs import Collator, PromptGroup
from pgpo_async.policy.loading import load_policy, load_processor
from pgpo_async.policy.logprobs import LogProbHead
from pgpo_async.policy.nucleus import nucleus_entropy
from pgpo_async.policy.passes import Wanted, score_groups


def plain_nucleus_entropy(probabilities: np.ndarray[Any, Any], top_p: float) -> float:
    """The fewest likeliest tokens that hold `top_p`, renormalised."""
    kept: list[float] = []
    for p in sorted(probabilities.tolist(), reverse=True):
        if sum(kept) >= top_p:
            break
        kept.append(p)
    return -sum(p / sum(kept) * np.log(p / sum(kept)) for p in kept if p > 0)


@given(st.lists(st.floats(-8, 8), min_size=1, max_size=12), st.floats(0.05, 1.0))
def test_nucleus_entropy_is_that_of_the_fewest_likeliest_tokens(logits: list[float], top_p: float) -> None:
    logprobs = torch.tensor([logits], dtype=torch.float64).log_softmax(1)
    probabilities = logprobs.exp().numpy()[0]
    ranked = np.sort(probabilities)[::-1].cumsum()
    if np.abs(ranked - top_p).min() < 1e-9:  # a tie that rounding decides
        return
    assert nucleus_entropy(logprobs, top_p).item() == pytest.approx(
        plain_nucleus_entropy(probabilities, top_p), abs=1e-9
    )


def test_a_flat_distribution_wider_than_the_first_look_is_sorted_whole() -> None:
    torch.manual_seed(0)
    logprobs = torch.stack([torch.randn(5000) * 0.1, torch.randn(5000) * 4]).log_softmax(1)
    expected = [plain_nucleus_entropy(row.double().exp().numpy(), 0.95) for row in logprobs]
    np.testing.assert_allclose(nucleus_entropy(logprobs, 0.95), expected, rtol=1e-4)


def test_the_head_gives_nucleus_entropies_beside_whole_log_probs() -> None:
    torch.manual_seed(0)
    linear = torch.nn.Linear(16, 90, bias=False)
    head = LogProbHead.from_linear(linear, slice_elements=128)
    hidden, targets = torch.randn(7, 16) * 3, torch.randint(90, (7,))
    scores = head(hidden, targets, 0.7, entropy=True, entropy_top_p=0.6)
    table = (linear(hidden) / 0.7).log_softmax(-1).detach()
    np.testing.assert_allclose(scores.logprobs, table.gather(1, targets[:, None])[:, 0], rtol=1e-5)
    expected = [plain_nucleus_entropy(row.double().exp().numpy(), 0.6) for row in table]
    np.testing.assert_allclose(scores.entropy, expected, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match=r"entropy_top_p must be in \(0, 1\], got 0"):
        head(hidden, targets, entropy=True, entropy_top_p=0)


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl"])
def test_similarity_is_the_mean_cosine_over_layers_and_image_tokens(
    kind: str,
    make_model_folder: Callable[..., Path],
    make_group: Callable[..., PromptGroup],
    make_image: Any,
    reference: Any,
) -> None:
    folder = make_model_folder(kind)
    policy = load_policy(str(folder), dtype="float32")
    collator = Collator(load_processor(str(folder)), policy.config)
    model = reference(folder).model
    groups = [
        make_group([5, make_image(1), 3], [6, 1, 0, 4], seed=1),
        make_group([4], [3], seed=2),
        make_group([2, make_image(2), 1, make_image(3, 140, 84), 4], [5, 2], seed=3),
    ]
    wanted = Wanted(similarity=True, entropy=True)
    whole = score_groups(policy, collator, groups, pass_tokens=1 << 20, passes=wanted)
    split = score_groups(policy, collator, groups, pass_tokens=1, passes=wanted)
    for group, scores, pieces in zip(groups, whole, split, strict=True):
        assert scores.similarity is not None
        assert pieces.similarity is not None
        for response, mine, piece in zip(group.responses, scores.similarity, pieces.similarity, strict=True):
            np.testing.assert_allclose(piece, mine, atol=1e-5)
            if not group.images:
                assert (mine == 0).all()
            elif len(response):
                np.testing.assert_allclose(mine, by_layers(model, collator, group, response), atol=1e-5)
                assert np.abs(mine).max() > 1e-3


@torch.inference_mode()
def by_layers(model: Any, collator: Collator, group: PromptGroup, response: Any) -> np.ndarray[Any, Any]:
    """One rollout through transformers with all hidden states, one cosine for each pair of tokens."""
    ids = torch.from_numpy(np.concatenate([group.prompt_token_ids, response]).astype(np.int64))[None]
    is_image = ids == model.config.image_token_id
    pixels = collator([group.select([])])
    positions, _ = model.model.get_rope_index(
        ids, mm_token_type_ids=is_image.int(), image_grid_thw=pixels.image_grids
    )
    states = model(
        input_ids=ids,
        position_ids=positions,
        pixel_values=pixels.pixel_values,
        image_grid_thw=pixels.image_grids,
        mm_token_type_ids=is_image.int(),
        output_hidden_states=True,
        use_cache=False,
    ).hidden_states[1:]
    start = len(group.prompt_token_ids) - 1
    means = []
    for state in states:
        unit = torch.nn.functional.normalize(state[0].double(), dim=-1)
        means.append((unit[start : start + len(response)] @ unit[is_image[0]].T).mean(1))
    mean: np.ndarray[Any, Any] = torch.stack(means).mean(0).numpy()
    return mean
