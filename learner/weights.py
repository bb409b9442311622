"""The policy's weights, no rank's part but whole, in host memory, under the names of the Hugging Face model.

Owns gathering at every ZeRO stage and the host buffers. Collective at stage 3: all ranks call, one keeps.
Called by `trainer` to publish and by `saving` to export.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

import torch
from torch import nn

from pgpo_async.learner.distributed import import_deepspeed
from pgpo_async.learner.engine import LearnerEngine
from pgpo_async.policy.weight_files import HostWeights

_LAYER = re.compile(r"^(.*?\.\d+)\.")


def snapshot(engine: LearnerEngine, *, keep: bool, into: HostWeights | None = None) -> HostWeights:
    """Copy what is published to the host where `keep`: all weights, or the adapters of a run that has some.

    Elsewhere take part in the gathering and return nothing. `into` is an earlier snapshot whose memory may be
    overwritten.
    """
    return _gathered(engine, engine.policy.published_parameters(), keep=keep, into=into)


def whole_snapshot(engine: LearnerEngine, *, keep: bool) -> HostWeights:
    """As `snapshot`, with all weights and adapters, each by its own name."""
    return _gathered(engine, engine.policy.weights_and_adapters(), keep=keep, into=None)


def num_weight_bytes(engine: LearnerEngine) -> int:
    """Bytes of all weights as they would be published without adapters. Local: gathers nothing."""
    return sum(
        getattr(parameter, "ds_numel", parameter.numel()) * parameter.element_size()
        for _, parameter in engine.policy.hf_named_parameters()
    )


def _gathered(
    engine: LearnerEngine, named: Iterable[tuple[str, nn.Parameter]], *, keep: bool, into: HostWeights | None
) -> HostWeights:
    kept: HostWeights = {}
    for block in _blocks(named):
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


def _blocks(named: Iterable[tuple[str, nn.Parameter]]) -> Iterator[list[tuple[str, nn.Parameter]]]:
    """Layer by layer: one by one is slower at stage 3, all at once needs the whole model on the device."""
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
