"""However sequences are laid out, split or shared, the same log-probs and gradients come out."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from pgpo_async.policy.batch import PolicyInputs
from pgpo_async.policy.inputs import Collator, PolicySequence
from pgpo_async.policy.model import PolicyModel
from pgpo_async.policy.passes import score_sequences

Gradients = dict[str, torch.Tensor]
Step = Callable[[Sequence[PolicyInputs]], tuple[torch.Tensor, Gradients]]


@pytest.fixture
def step(policy: PolicyModel) -> Step:
    """Forward and backward over batches; the loss gives each response token its own weight."""

    def run(batches: Sequence[PolicyInputs]) -> tuple[torch.Tensor, Gradients]:
        policy.train().zero_grad()
        logprobs, done = [], 0
        for inputs in batches:
            logprobs_N = policy(inputs)
            done += len(logprobs_N)
            weights_N = torch.sin(torch.arange(done - len(logprobs_N), done)) + 0.3
            (logprobs_N * weights_N).sum().backward()
            logprobs.append(logprobs_N.detach())
        gradients = {
            name: parameter.grad.clone()
            for name, parameter in policy.hf_named_parameters()
            if parameter.grad is not None
        }
        return torch.cat(logprobs), gradients

    return run


def assert_equal(ours: tuple[torch.Tensor, Gradients], theirs: tuple[torch.Tensor, Gradients]) -> None:
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-5, atol=1e-5)
    assert ours[1].keys() == theirs[1].keys()
    largest = max(float(gradient.norm()) for gradient in theirs[1].values())
    for name, gradient in ours[1].items():
        difference = float((gradient - theirs[1][name]).norm())
        assert difference <= 1e-5 * max(float(theirs[1][name].norm()), 1e-2 * largest), name


def test_packed_padded_and_one_at_a_time_agree_in_log_probs_and_gradients(
    step: Step, collators: dict[str, Collator], mixed_sequences: list[PolicySequence]
) -> None:
    packed = step([collators["packed"](mixed_sequences)])
    one_at_a_time = step([collators["padded"]([sequence]) for sequence in mixed_sequences])
    assert len(packed[1]) == len(one_at_a_time[1]) > 50
    assert_equal(packed, one_at_a_time)
    assert_equal(step([collators["padded"](mixed_sequences)]), one_at_a_time)


def test_results_follow_the_order_of_sequences_and_not_the_split_into_passes(
    policy: PolicyModel, collators: dict[str, Collator], mixed_sequences: list[PolicySequence]
) -> None:
    whole = score_sequences(policy, collators["packed"], mixed_sequences, pass_tokens=1 << 20)
    order = np.random.default_rng(0).permutation(len(mixed_sequences))
    shuffled = [mixed_sequences[i] for i in order]
    for pass_tokens in (1, 40, 100):
        split = score_sequences(policy, collators["packed"], shuffled, pass_tokens=pass_tokens)
        for i, scores in zip(order, split, strict=True):
            assert scores.dtype == np.float32
            np.testing.assert_allclose(scores, whole[i], atol=1e-5)


def test_the_tower_runs_once_for_an_image_and_gives_what_a_run_for_each_occurrence_gives(
    step: Step,
    policy: PolicyModel,
    collators: dict[str, Collator],
    make_image: Callable[..., bytes],
    make_sequence: Callable[..., PolicySequence],
) -> None:
    shared, other = make_image(1), make_image(2, 140, 84)
    sequences = [make_sequence([4, shared, 3], 6, seed=i) for i in range(4)]
    sequences += [make_sequence([2, other, 1, bytes(bytearray(shared)), 2], 5, seed=9)]
    inputs = collators["packed"](sequences)
    assert inputs.image_grids is not None
    assert inputs.image_grids.tolist() == [[1, 6, 6], [1, 6, 10]]
    assert len(inputs.image_rows) == 4 * 9 + 15 + 9
    assert_equal(step([inputs]), step([each_occurrence(inputs)]))


def each_occurrence(inputs: PolicyInputs) -> PolicyInputs:
    """The same batch with every image token's image in the tower's input as often as it occurs."""
    assert inputs.pixel_values is not None
    assert inputs.image_grids is not None
    patches = inputs.pixel_values.split(inputs.image_grids.prod(-1).tolist())
    first, second = (0, inputs.image_grids[0]), (1, inputs.image_grids[1])
    occurrences = [first] * 4 + [second, first]
    return replace(
        inputs,
        pixel_values=torch.cat([patches[i] for i, _ in occurrences]),
        image_grids=torch.stack([grid for _, grid in occurrences]),
        image_rows=torch.arange(len(inputs.image_rows)),
    )


@pytest.mark.parametrize("layout", ["packed", "padded"])
def test_a_dummy_image_changes_no_result_and_gives_the_tower_zero_gradients(
    layout: str,
    step: Step,
    collators: dict[str, Collator],
    make_sequence: Callable[..., PolicySequence],
) -> None:
    sequences = [make_sequence([7], 5, seed=1), make_sequence([3], 2, seed=2)]
    without, with_dummy = (step([collators[layout](sequences, dummy_image=flag)]) for flag in (False, True))
    tower = [name for name in with_dummy[1] if "visual" in name]
    assert len(tower) > 20
    assert all(not with_dummy[1].pop(name).any() for name in tower)
    assert_equal(with_dummy, without)


def test_a_batch_without_response_tokens_gives_every_weight_a_zero_gradient(
    step: Step,
    collators: dict[str, Collator],
    make_sequence: Callable[..., PolicySequence],
    policy: PolicyModel,
) -> None:
    inputs = collators["packed"]([make_sequence([4], 0), make_sequence([2], 0)], dummy_image=True)
    logprobs_N, gradients = step([inputs])
    assert logprobs_N.shape == (0,)
    assert tuple(gradients) == policy.state_names
    assert not any(gradient.any() for gradient in gradients.values())


def test_activation_checkpointing_changes_neither_log_probs_nor_gradients(
    step: Step, policy: PolicyModel, collators: dict[str, Collator], mixed_sequences: list[PolicySequence]
) -> None:
    inputs = collators["packed"](mixed_sequences)
    plain = step([inputs])
    policy.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    assert_equal(step([inputs]), plain)


def test_two_models_in_turns_do_not_mix_up_borders(
    policy: PolicyModel, collators: dict[str, Collator], mixed_sequences: list[PolicySequence]
) -> None:
    first, second = collators["packed"](mixed_sequences[:3]), collators["packed"](mixed_sequences[3:])
    expected = [policy(first).detach(), policy(second).detach()]
    outputs = [policy(first), policy(second)]  # both graphs alive, backward in the other order
    outputs[1].sum().backward()
    outputs[0].sum().backward()
    for got, want in zip(outputs, expected, strict=True):
        torch.testing.assert_close(got.detach(), want)


def test_the_packed_row_restarts_at_each_sequence_and_keeps_rotary_positions(
    collators: dict[str, Collator], policy: PolicyModel, mixed_sequences: list[PolicySequence]
) -> None:
    inputs: Any = collators["packed"](mixed_sequences, blind=True)
    borders = [*(inputs.position_ids[0, 0] == 0).nonzero()[:, 0].tolist(), inputs.num_tokens]
    lengths = [b - a for a, b in pairwise(borders)]
    expected = sorted(collators["packed"].num_tokens(s, blind=True) for s in mixed_sequences)
    assert lengths == expected
    rotary = inputs.position_ids[1:, 0]
    assert (rotary[0] == rotary[2]).all()  # text only: the three rows agree
    assert (rotary[0] > inputs.position_ids[0, 0]).any()  # and run ahead of the place where an image was
