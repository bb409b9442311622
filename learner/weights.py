"""The policy's weights, whole, in host memory, under the names of the Hugging Face model.

Owns gathering at every ZeRO stage and the host buffers. Collective at stage 3: all ranks call, one keeps.
Called by `worker` to publish and to export.
"""

import re
from collections.abc import Iterator
from itertools import groupby

import torch
from torch import nn

from pgpo_async.learner.distributed import import_deepspeed
from pgpo_async.learner.engine import LearnerEngine
from pgpo_async.policy.weight_files import HostWeights

_LAYER = re.compile(r"^(.*?\.\d+)\.")


def snapshot(engine: LearnerEngine, *, keep: bool, into: HostWeights | None = None) -> HostWeights:
    """Copy all weights to the host where `keep`; elsewhere take part in the gathering and return nothing.

    `into` is an earlier snapshot whose memory may be overwritten.
    """
    kept: HostWeights = {}
    for block in _blocks(engine):
        if engine.config.learner.zero_stage < 3:
            # Whole on every rank, but live views of what the optimizer writes: copied at once.
            _copy(block, kept, into, keep)
        else:
            parameters = [parameter for _, parameter in block]
            with import_deepspeed().zero.GatheredParameters(parameters, modifier_rank=None):
                _copy(block, kept, into, keep)
    if keep and engine.device.type == "cuda":
        torch.cuda.synchronize(engine.device)
    return kept


def _blocks(engine: LearnerEngine) -> Iterator[list[tuple[str, nn.Parameter]]]:
    """Layer by layer: one by one is slower at stage 3, all at once needs the whole model on the device."""
    named = engine.policy.hf_named_parameters()
    for _, block in groupby(named, key=lambda item: match[1] if (match := _LAYER.match(item[0])) else ""):
        yield list(block)


def _copy(
    block: list[tuple[str, nn.Parameter]], kept: HostWeights, into: HostWeights | None, keep: bool
) -> None:
    if not keep:
        return
    for name, parameter in block:
        source = parameter.detach()
        target = None if into is None else into.get(name)
        if target is None:
            target = torch.empty(source.shape, dtype=source.dtype, pin_memory=source.is_cuda)
        kept[name] = target.copy_(source, non_blocking=True)
