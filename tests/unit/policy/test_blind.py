"""Blind by dropping image tokens equals blind by hiding them, and differs from every near miss."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pgpo_async.policy.inputs import Collator, PromptGroup
from pgpo_async.policy.loading import load_policy, load_processor
from pgpo_async.policy.model import PolicyModel
from pgpo_async.policy.passes import GroupScores, score_groups

Rows = list[np.ndarray[Any, Any]]


def score(
    policy: PolicyModel, collator: Collator, groups: list[PromptGroup], **options: Any
) -> list[GroupScores]:
    return score_groups(policy, collator, groups, **{"pass_tokens": 1 << 20, **options})


def flat(groups: Any) -> Rows:
    return [row for rows in groups for row in rows]


def largest_difference(ours: Rows, theirs: Any) -> float:
    """Relative above 1 nat, absolute below."""
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(ours, theirs, strict=True)]
    assert all(len(a) == len(b) for a, b in pairs)
    return max(float((np.abs(a - b) / np.maximum(1, np.abs(b))).max()) for a, b in pairs if len(a))


@pytest.fixture(scope="module", params=["qwen2_5_vl", "qwen2_vl", "qwen3_vl"])
def model(
    request: pytest.FixtureRequest, make_model_folder: Callable[..., Path], reference: Any
) -> tuple[PolicyModel, Collator, Any]:
    folder = make_model_folder(request.param)
    policy = load_policy(str(folder), dtype="float32")
    return policy, Collator(load_processor(str(folder)), policy.config), reference(folder)


def test_both_passes_equal_transformers_with_the_image_tokens_hidden_in_the_blind_one(
    model: tuple[PolicyModel, Collator, Any], mixed_groups: list[PromptGroup]
) -> None:
    policy, collator, reference = model
    scores = score(policy, collator, mixed_groups, passes="sighted_blind")
    with torch.inference_mode():
        sighted, blind = reference(mixed_groups), reference(mixed_groups, hide=True)
    assert largest_difference(flat(s.sighted for s in scores), sighted) < 1e-5
    assert largest_difference(flat(s.blind for s in scores), blind) < 1e-5


def test_the_image_matters_exactly_where_there_is_one(
    policy: PolicyModel, collator: Collator, mixed_groups: list[PromptGroup]
) -> None:
    for group, scores in zip(
        mixed_groups, score(policy, collator, mixed_groups, passes="sighted_blind"), strict=True
    ):
        assert scores.blind is not None
        for sighted, blind in zip(scores.sighted, scores.blind, strict=True):
            if group.images:
                assert not len(sighted) or np.abs(sighted - blind).max() > 1e-2
            else:
                assert blind is sighted


def test_blind_with_recomputed_positions_would_be_seen(
    policy: PolicyModel,
    collator: Collator,
    model_folder: Path,
    reference: Any,
    mixed_groups: list[PromptGroup],
) -> None:
    scores = score(policy, collator, mixed_groups, passes="sighted_blind")
    with torch.inference_mode():
        compact = iter(reference(model_folder)(mixed_groups, hide=True, compact=True))
    for group, mine in zip(mixed_groups, scores, strict=True):
        for row in mine.blind or ():
            other = next(compact)
            if (len(group.images) == 2 and len(row)) or (group.images and len(row) > 5):
                assert np.abs(row - other.numpy()).max() > 1e-3


def test_blind_keeps_pixels_and_image_tokens_out_of_the_batch(
    collator: Collator, policy: PolicyModel, mixed_groups: list[PromptGroup]
) -> None:
    inputs = collator(mixed_groups, blind=True)
    assert inputs.pixel_values is None
    assert not (inputs.input_ids == policy.config.image_token_id).any()
    shorter = sum(collator.num_image_tokens(group) for group in mixed_groups)
    assert inputs.num_tokens == collator(mixed_groups).num_tokens - shorter


def test_results_follow_the_order_of_groups_and_not_the_split_into_passes(
    policy: PolicyModel, collator: Collator, mixed_groups: list[PromptGroup]
) -> None:
    order = np.random.default_rng(0).permutation(len(mixed_groups))
    for passes in ("sighted_blind", "exact"):
        whole = score(policy, collator, mixed_groups, passes=passes)
        for budget in (1, 40, 100):
            split = score(
                policy, collator, [mixed_groups[i] for i in order], passes=passes, pass_tokens=budget
            )
            for i, scores in zip(order, split, strict=True):
                for name in ("sighted", "blind", "kl"):
                    mine, other = getattr(scores, name) or (), getattr(whole[i], name) or ()
                    assert len(mine) == len(other)
                    assert all(row.dtype == np.float32 for row in mine)
                    assert not mine or not sum(map(len, mine)) or largest_difference(list(mine), other) < 1e-5


def test_the_exact_divergence_is_that_of_transformers_two_distributions(
    policy: PolicyModel, collator: Collator, make_group: Callable[..., PromptGroup], make_image: Any
) -> None:
    groups = [make_group([4, make_image(1), 3], [6, 1, 0, 3]), make_group([5], [4])]
    scores = score(policy, collator, groups, passes="exact")
    tables = []
    for blind in (False, True):
        inputs = collator(groups, blind=blind)
        with torch.inference_mode():
            logits = policy.model.lm_head(policy._predictors(inputs))
        tables.append(logits.double().log_softmax(-1))
    expected = (tables[0].exp() * (tables[0] - tables[1])).sum(-1).numpy()
    found = np.concatenate([row for s in scores for row in s.kl or ()])
    np.testing.assert_allclose(found, expected, atol=2e-6, rtol=1e-4)
    assert found[:10].min() > 1e-3
    assert (found[10:] == 0).all()
    plain = score(policy, collator, groups, passes="sighted_blind")
    for mine, theirs in zip(scores, plain, strict=True):
        assert largest_difference(list(mine.sighted), theirs.sighted) < 1e-5
        assert largest_difference(list(mine.blind or ()), theirs.blind) < 1e-5
