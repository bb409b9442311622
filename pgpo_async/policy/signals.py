"""What a scorer's passes say of a group: the signals that shaping methods read.

Owns which rows of `GroupScores` make which signal. The maths is `pgpo_async.algorithms`', the passes are
`passes`'. No Ray, no model. Called by the scorer and by the token viewer.
"""

import numpy as np
import torch
from torch import Tensor

from pgpo_async.algorithms.rows import pad_rows, row_mask, unpad_rows
from pgpo_async.algorithms.shaping import Shaped, Shaper, Signals
from pgpo_async.algorithms.shaping.interface import SIGNAL_OF
from pgpo_async.algorithms.visual_dependency import exact_visual_dependency, token_visual_dependency
from pgpo_async.contracts import REFERENCE, RolloutGroup, ScoredGroup
from pgpo_async.contracts.rollouts import Float32Array
from pgpo_async.policy.passes import GroupScores

Rows = tuple[Float32Array, ...]


def scored_group(
    group: RolloutGroup,
    scores: GroupScores,
    shaper: Shaper,
    *,
    version: int,
    progress: float,
    reference: Rows | None = None,
    alone: bool = False,
) -> ScoredGroup:
    """The group with its weights, or for a method that must see the whole step with what it will read.

    `scores` must hold what `Wanted.by` asks for the shaper; `progress` is the share of training that is done;
    `reference` are the log-probs of the model that the run started from. Its `dependency` is that on the
    hidden image, or where no pass hid it on the masked one, or nan. `alone`: such a method sees this group
    as if it were the whole step.
    """
    lengths = [len(row) for row in scores.sighted]
    mask_BT = row_mask(lengths)
    found = signals(scores, mask_BT)
    needed = {SIGNAL_OF[need] for need in shaper.needs}
    shaped = Shaped(weights_BT=mask_BT.float())
    kept: dict[str, Rows] = {} if reference is None else {REFERENCE: reference}
    if shaper.scope == "batch" and not alone:
        kept |= {name: unpad_rows(found[name], lengths) for name in sorted(needed)}
    else:
        shaped = shaper.shape(
            Signals(
                mask_BT=mask_BT,
                has_image_B=torch.full((len(lengths),), bool(group.prompt.images)),
                progress=progress,
                **{name: found[name] for name in needed},
            )
        )
    dependency_BT = found.get("dependency_BT", found.get("masked_dependency_BT"))
    unknown_BT = torch.full(mask_BT.shape, np.nan)
    return ScoredGroup(
        group=group,
        proximal_logprobs=scores.sighted,
        dependency=unpad_rows(unknown_BT if dependency_BT is None else dependency_BT, lengths),
        token_weights=unpad_rows(shaped.weights_BT, lengths),
        scorer_version=version,
        metrics={name: float(value) for name, value in shaped.metrics.items()},
        signals=kept,
    )


def signals(scores: GroupScores, mask_BT: Tensor) -> dict[str, Tensor]:
    """By the names of `Signals`, float32 [B, T] each: all that these passes tell."""
    sighted_BT = pad_rows(scores.sighted, mask_BT)
    found: dict[str, Tensor] = {}
    if scores.kl is not None:
        found["dependency_BT"] = exact_visual_dependency(pad_rows(scores.kl, mask_BT), mask_BT)
    elif scores.blind is not None:
        found["dependency_BT"] = token_visual_dependency(sighted_BT, pad_rows(scores.blind, mask_BT), mask_BT)
    if scores.masked is not None:
        found["masked_dependency_BT"] = token_visual_dependency(
            sighted_BT, pad_rows(scores.masked, mask_BT), mask_BT
        )
    if scores.no_image is not None:
        found["no_image_gap_BT"] = (sighted_BT - pad_rows(scores.no_image, mask_BT)).abs()
    if scores.entropy is not None:
        found["entropy_BT"] = pad_rows(scores.entropy, mask_BT)
    if scores.similarity is not None:
        found["similarity_BT"] = pad_rows(scores.similarity, mask_BT)
    return found
