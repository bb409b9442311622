"""How long each stage will take where nobody has measured it: arithmetic and bytes against a GPU's peaks.

A roofline with stated shares of the peaks (`gpus.Rates`). Owns the formulas, and says in words what each time
is made of. Pure. Called by `estimate`.
"""

import math
from dataclasses import dataclass

from pgpo_async.config.schema import RunConfig
from pgpo_async.orchestration.planning.gpus import GpuKind, Rates
from pgpo_async.orchestration.planning.model_shape import ModelShape
from pgpo_async.orchestration.planning.plan_inputs import WEIGHT_BYTES
from pgpo_async.orchestration.planning.role_memory import (
    GRADIENT_BYTES,
    MAX_NUM_SEQS,
    cache_tokens,
    generator_memory,
    tensor_parallel,
    trained_weights,
)
from pgpo_async.orchestration.planning.workload import Workload, num_passes
from pgpo_async.orchestration.service_times import ServiceTimes

GPUS_PER_NODE = 8
NETWORK_GB_PER_S = 50.0
"""Between nodes, for each GPU: one link of 400 Gb/s."""
FILTERED_SHARE = 0.4
"""Of the groups, where algorithm.filter is on: all right or all wrong."""
UPDATE_TRAFFIC_BYTES = 60
"""Of a weight that a GPU updates: gradient, master copy and moments, read and written in several passes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed:
    """Seconds, and what they are made of."""

    seconds: float
    how: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StageEstimate:
    """The times of a run, and how each comes about. A share of a GPU counts as that share of its time."""

    times: ServiceTimes
    hows: tuple[str, ...]


def estimated_times(
    config: RunConfig, shape: ModelShape, work: Workload, gpu: GpuKind, rates: Rates
) -> StageEstimate:
    """Return the times; every role that works must have GPUs."""
    generate = generating(config, shape, work, gpu, rates)
    learn = learning(config, shape, work, gpu, rates)
    hows = [generate.how, learn.how]
    scored_s = 0.0
    if config.uses_scorers:
        score = scoring(config, shape, work, gpu, rates)
        scored_s = score.seconds
        hows.insert(1, score.how)
    weights_gb = published_bytes(config, shape) / 1e9
    filtered = FILTERED_SHARE if config.algorithm.filter.enabled else 0.0
    times = ServiceTimes(
        generate_s=generate.seconds,
        generate_sigma=work.lengths.longest_sigma,
        score_s=scored_s,
        learn_s=learn.seconds,
        publish_s=rates.publish_s_per_gb * weights_gb,
        load_s=rates.load_s_per_gb * weights_gb / tensor_parallel(config),
        filtered_share=filtered,
    )
    hows.append(
        f"publish: {times.publish_s:.1f} s, load: {times.load_s:.1f} s, at {rates.publish_s_per_gb:g} and "
        f"{rates.load_s_per_gb:g} s a GB (bench weights on two cores)"
    )
    if filtered:
        hows.append(f"filtered: {filtered:.0%} of the groups (taken to be so; --filtered)")
    return StageEstimate(times=times, hows=tuple(hows))


def published_bytes(config: RunConfig, shape: ModelShape) -> int:
    """Of a version that is published whole: all weights, frozen ones too, or the adapters."""
    weights = trained_weights(config, shape) if config.model.lora.rank else shape.num_weights
    return WEIGHT_BYTES[config.model.dtype] * weights


def generating(config: RunConfig, shape: ModelShape, work: Workload, gpu: GpuKind, rates: Rates) -> Timed:
    """One group in a full engine: as many decoding steps as its share of them, and its prefill.

    A step reads all weights once, and each sequence's cache. Sequences side by side: as many as are asked
    for, allowed, and have room in the cache. A group holds its place until its longest response ends.
    """
    generator, size = config.generator, WEIGHT_BYTES[config.model.dtype]
    lengths, group = work.lengths, work.group_size
    position = lengths.square / (2 * lengths.mean)  # of a token that is being sampled, on average
    memory = generator_memory(config, shape, work, gpu)
    room = group * cache_tokens(memory, config, shape) / (work.prompt_tokens + group * position)
    bounds = {
        "generator.prompts_in_flight": generator.prompts_in_flight * group * lengths.mean / lengths.longest,
        "generator.engine.max_num_seqs": float(generator.engine.get("max_num_seqs", MAX_NUM_SEQS)),
        "the cache": room,
    }
    bound = min(bounds, key=lambda name: bounds[name])
    active = max(1.0, bounds[bound])
    weights = size * (shape.layers * shape.layer_matrices + shape.table_weights)
    cached = size * shape.cache_numbers * active * (work.prompt_tokens + position)
    read_s = (weights + cached) / (gpu.memory_gb_per_s * 1e9 * rates.memory * generator.gpus)
    flops_per_s = gpu.tflops * 1e12 * rates.compute * generator.gpus
    compute_s = active * (shape.token_flops + shape.target_flops) / flops_per_s
    step_s = max(read_s, compute_s) + rates.decode_s
    prefill_s = (work.text_flops(shape, work.prompt_tokens, 0) + work.tower_flops(shape)) / flops_per_s
    engine_s = prefill_s + work.response_tokens * step_s / active
    return Timed(
        seconds=engine_s * generator.prompts_in_flight,
        how=f"generate: {active:.0f} sequences side by side in an engine (bound by {bound}); a decoding step "
        f"takes {step_s * 1e3:.1f} ms ({weights / 1e9:.1f} GB of weights, {cached / 1e9:.1f} GB of cache), "
        f"{active / step_s:,.0f} tokens/s; prefill {prefill_s:.2f} s a group",
    )


def scoring(config: RunConfig, shape: ModelShape, work: Workload, gpu: GpuKind, rates: Rates) -> Timed:
    """One scorer, for all groups of a step."""
    flops = work.scoring_flops(shape, config)
    groups = config.train.groups_per_step
    seconds = groups * flops / (gpu.tflops * 1e12 * rates.compute * config.scorer.gpus)
    return Timed(
        seconds=seconds,
        how=f"score: {flops / 1e12:,.0f} TFLOP a group ({work.sighted_flops(shape) / 1e12:,.0f} of them "
        f"sighted), {seconds:.1f} s for {groups} groups in one scorer",
    )


def learning(config: RunConfig, shape: ModelShape, work: Workload, gpu: GpuKind, rates: Rates) -> Timed:
    """One optimizer step: passes or what ranks send each other meanwhile, the update, the snapshot."""
    learner, ranks, groups = config.learner, config.learner.replicas, config.train.groups_per_step
    flops = groups / ranks * work.learning_flops(shape, config)
    compute_s = flops / (gpu.tflops * 1e12 * rates.compute * learner.gpus)
    num_micro = micro_batches(config, work)
    link = gpu.link_gb_per_s if ranks <= GPUS_PER_NODE else min(gpu.link_gb_per_s, NETWORK_GB_PER_S)
    link_s = _sent_bytes(config, shape, num_micro) / (link * 1e9 * rates.link)
    update_s = _update_s(config, shape, gpu, rates)
    snapshot_s = published_bytes(config, shape) / rates.host_copy_bytes_per_s
    return Timed(
        seconds=max(compute_s, link_s) + update_s + snapshot_s,
        how=f"learn: {flops / 1e12:,.0f} TFLOP a rank, {compute_s:.1f} s in {num_micro} micro-batches; "
        f"{link_s:.1f} s of traffic between ranks meanwhile; update {update_s:.1f} s, "
        f"snapshot {snapshot_s:.1f} s",
    )


def micro_batches(config: RunConfig, work: Workload) -> int:
    """Micro-batches of one rank in a step."""
    groups = math.ceil(config.train.groups_per_step / config.learner.replicas)
    room = config.learner.micro_batch_tokens / num_passes(config) / work.group_tokens
    return math.ceil(groups / int(room)) if room >= 1 else math.ceil(groups / room)


def _sent_bytes(config: RunConfig, shape: ModelShape, num_micro: int) -> float:
    """Bytes that each rank sends in a step."""
    ranks, size = config.learner.replicas, WEIGHT_BYTES[config.model.dtype]
    weights, trained = size * shape.num_weights, trained_weights(config, shape)
    if config.learner.zero_stage == 3:  # gathered for both passes, gradients scattered
        sent = num_micro * (2.0 * weights + size * trained)
    elif config.learner.zero_stage == 2:
        sent = num_micro * size * trained + float(weights)
    else:
        sent = 2.0 * GRADIENT_BYTES * trained + weights
    return sent * (ranks - 1) / ranks


def _update_s(config: RunConfig, shape: ModelShape, gpu: GpuKind, rates: Rates) -> float:
    trained = trained_weights(config, shape)
    if not config.learner.offload_optimizer:
        mine = trained / config.learner.replicas
        return UPDATE_TRAFFIC_BYTES * mine / (gpu.memory_gb_per_s * 1e9 * rates.memory)
    hosts = math.ceil(config.learner.replicas / GPUS_PER_NODE)
    moved = (GRADIENT_BYTES + WEIGHT_BYTES[config.model.dtype]) * trained / config.learner.replicas
    return trained / hosts / rates.host_adam_per_s + moved / rates.host_copy_bytes_per_s
