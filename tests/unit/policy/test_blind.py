"""Blind by dropping image tokens equals blind by hiding them, and differs from every near miss."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pgpo_async.policy.inputs import Collator, PolicySequence
from pgpo_async.policy.loading import load_policy, load_processor
from pgpo_async.policy.model import PolicyModel
from pgpo_async.policy.passes import score_sequences

LAYOUTS = ("packed", "padded")


def score(policy: PolicyModel, collator: Collator, sequences: list[PolicySequence], **options: Any) -> Any:
    return score_sequences(policy, collator, sequences, pass_tokens=1 << 20, **options)


def largest_difference(ours: Any, theirs: Any) -> float:
    pairs = list(zip(ours, theirs, strict=True))
    assert all(len(a) == len(b) for a, b in pairs)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs if len(a))


@pytest.mark.parametrize("model_type", ["qwen2_5_vl", "qwen2_vl"])
@pytest.mark.parametrize("blind", [False, True], ids=["sighted", "blind"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_log_probs_equal_those_of_transformers_with_image_tokens_hidden_if_blind(
    layout: str,
    blind: bool,
    model_type: str,
    make_model_folder: Callable[..., Path],
    reference: Any,
    mixed_sequences: list[PolicySequence],
) -> None:
    folder = make_model_folder(model_type)
    policy = load_policy(str(folder), dtype="float32")
    collator = Collator(load_processor(str(folder)), policy.config, layout=layout)  # type: ignore[arg-type]
    with torch.inference_mode():
        expected = reference(folder)(mixed_sequences, hide=blind)
    assert largest_difference(score(policy, collator, mixed_sequences, blind=blind), expected) < 1e-5


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_image_matters_exactly_where_there_is_one(
    layout: str, policy: PolicyModel, collators: dict[str, Collator], mixed_sequences: list[PolicySequence]
) -> None:
    sighted = score(policy, collators[layout], mixed_sequences)
    blind = score(policy, collators[layout], mixed_sequences, blind=True)
    for sequence, a, b in zip(mixed_sequences, sighted, blind, strict=True):
        if sequence.images and len(a):
            assert np.abs(a - b).max() > 1e-2
        else:
            assert np.allclose(a, b, atol=1e-5)


def test_blind_with_recomputed_positions_would_be_seen(
    policy: PolicyModel,
    collators: dict[str, Collator],
    model_folder: Path,
    reference: Any,
    mixed_sequences: list[PolicySequence],
) -> None:
    blind = score(policy, collators["packed"], mixed_sequences, blind=True)
    with torch.inference_mode():
        compact = reference(model_folder)(mixed_sequences, hide=True, compact=True)
    for sequence, a, b in zip(mixed_sequences, blind, compact, strict=True):
        if len(sequence.images) == 2 or (sequence.images and len(a) > 5):
            assert np.abs(a - b.numpy()).max() > 1e-3


def test_blind_keeps_pixels_and_image_tokens_out_of_the_batch(
    collators: dict[str, Collator], policy: PolicyModel, mixed_sequences: list[PolicySequence]
) -> None:
    for collator in collators.values():
        inputs = collator(mixed_sequences, blind=True)
        assert inputs.pixel_values is None
        assert not (inputs.input_ids == policy.config.image_token_id).any()
    assert collators["packed"](mixed_sequences, blind=True).num_tokens == sum(
        collators["packed"].num_tokens(sequence, blind=True) for sequence in mixed_sequences
    )
