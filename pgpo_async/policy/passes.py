"""Scoring passes over many sequences within a token budget.

Owns how sequences are split into passes (the learner's micro-batches too) and the scorer's forward without
gradient. Not what is done with the log-probs. Called by the scorer; `split_by_budget` by the learner.
"""

from collections.abc import Hashable, Sequence
from itertools import groupby

import torch

from pgpo_async.contracts.rollouts import Float32Array
from pgpo_async.policy.inputs import Collator, PolicySequence
from pgpo_async.policy.model import PolicyModel


def split_by_budget(
    num_tokens: Sequence[int], budget: int, *, keys: Sequence[Hashable] | None = None
) -> list[list[int]]:
    """Consecutive index lists, each of at most `budget` tokens; a sequence above the budget is alone.

    Neighbours with equal `keys` (a prompt's sequences) are kept together where they fit into one list, so
    that the vision tower sees their images once. Order is kept; every index is in one list. Raises
    ValueError if the budget is not positive or keys and tokens differ in number.
    """
    if budget < 1:
        raise ValueError(f"budget must be at least 1 token, got {budget}")
    if keys is not None and len(keys) != len(num_tokens):
        raise ValueError(f"keys must be as many as num_tokens, {len(num_tokens)}, got {len(keys)}")
    passes: list[list[int]] = []
    room = 0
    for block in _blocks(len(num_tokens), keys):
        needed = sum(num_tokens[i] for i in block)
        if room < needed <= budget:
            room = 0
        for i in block:
            if num_tokens[i] > room:
                passes.append([])
                room = budget
            passes[-1].append(i)
            room -= num_tokens[i]
    return passes


def score_sequences(
    policy: PolicyModel,
    collator: Collator,
    sequences: Sequence[PolicySequence],
    *,
    pass_tokens: int,
    temperature: float = 1.0,
    blind: bool = False,
) -> list[Float32Array]:
    """Log-probs float32 [T] of each sequence's response, in order, without gradient.

    Each forward works on at most `pass_tokens` tokens (or one longer sequence), padding aside. Raises
    ValueError, see `Collator`.
    """
    num_tokens = [collator.num_tokens(sequence, blind=blind) for sequence in sequences]
    keys = [(sequence.images, sequence.prompt_token_ids.tobytes()) for sequence in sequences]
    scores: list[Float32Array] = []
    for indices in split_by_budget(num_tokens, pass_tokens, keys=keys):
        inputs = collator([sequences[i] for i in indices], blind=blind).to(policy.device)
        with torch.inference_mode():
            logprobs_N = policy(inputs, temperature)
        scores += [part.numpy().copy() for part in inputs.split(logprobs_N.cpu())]
    return scores


def _blocks(size: int, keys: Sequence[Hashable] | None) -> list[list[int]]:
    if keys is None:
        return [[i] for i in range(size)]
    return [list(block) for _, block in groupby(range(size), key=lambda i: keys[i])]
