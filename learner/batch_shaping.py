"""Shaping that must see the whole optimizer step: signals gathered over the ranks, weights for one's own.

Owns the gathering. Every rank shapes the same batch in the same order (of group ids), so the weights do not
depend on how many ranks there are nor on which rank has which group. Called by `engine` for shapers of scope
`batch`; those of response scope have run in the scorer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from pgpo_async.algorithms.rows import pad_rows, row_mask, unpad_rows
from pgpo_async.algorithms.shaping import Shaper, Signals
from pgpo_async.contracts import ScoredGroup
from pgpo_async.contracts.rollouts import Float32Array

Rows = tuple[Float32Array, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Measured:
    """What one group brings to the batch: a row for each response."""

    lengths: tuple[int, ...]
    has_image: bool
    signals: dict[str, Rows]


def shape_batch(
    groups: Sequence[ScoredGroup], shaper: Shaper, *, progress: float
) -> tuple[tuple[ScoredGroup, ...], dict[str, float]]:
    """This rank's groups with their weights of the whole step, and the shaper's metrics; collective.

    Raises ValueError, on all ranks, for a signal that the shaper asks for and a group does not have.
    """
    mine = {scored.group.group_id: _measured(scored) for scored in groups}
    gathered: list[dict[str, _Measured]] = [{} for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(gathered, mine)
    batch = dict(sorted(item for part in gathered for item in part.items()))
    weights, metrics = shape_measured(batch, shaper, progress=progress)
    shaped = tuple(replace(scored, token_weights=weights[scored.group.group_id]) for scored in groups)
    return shaped, metrics


def shape_measured(
    batch: dict[str, _Measured], shaper: Shaper, *, progress: float
) -> tuple[dict[str, Rows], dict[str, float]]:
    """Weights of each group by id, and metrics."""
    lengths = [length for group in batch.values() for length in group.lengths]
    mask_BT = row_mask(lengths)
    names = set.intersection(*(set(group.signals) for group in batch.values())) if batch else set()
    signals = {
        name: pad_rows([row for group in batch.values() for row in group.signals[name]], mask_BT)
        for name in names
    }
    has_image = [group.has_image for group in batch.values() for _ in group.lengths]
    shaped = shaper.shape(
        Signals(mask_BT=mask_BT, has_image_B=torch.tensor(has_image), progress=progress, **signals)
    )
    rows = iter(unpad_rows(shaped.weights_BT, lengths))
    weights = {name: tuple(next(rows) for _ in group.lengths) for name, group in batch.items()}
    return weights, {name: float(value) for name, value in shaped.metrics.items()}


def _measured(scored: ScoredGroup) -> _Measured:
    return _Measured(
        lengths=tuple(len(rollout.response_token_ids) for rollout in scored.group.rollouts),
        has_image=bool(scored.group.prompt.images),
        signals={name: tuple(rows) for name, rows in scored.signals.items()},
    )
