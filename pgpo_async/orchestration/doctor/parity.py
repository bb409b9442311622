"""vLLM and the trainer's code on the same tokens: sampled by one, scored by the other, log-probs compared.

Owns the small trial and its verdict; engine, scoring and the words for a disagreement are those of a run. One
after the other, so that both never share a device's memory. In a process of its own, without Ray.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pgpo_async.config.pipeline import ScorerConfig
from pgpo_async.config.schema import RunConfig
from pgpo_async.config.training import LearnerConfig
from pgpo_async.contracts import RolloutGroup
from pgpo_async.orchestration.doctor.lines import Line, error, ok, warning
from pgpo_async.orchestration.doctor.machine import Machine
from pgpo_async.orchestration.doctor.prompts import NUM_TRIED, first_prompts
from pgpo_async.orchestration.mismatch_guard import MismatchGuard
from pgpo_async.orchestration.planning.peak_memory import planned_memory
from pgpo_async.orchestration.planning.units import in_bytes

NUM_PROMPTS = 4
NUM_SAMPLES = 4
MOST_TOKENS = 64
MOST_CPU_BYTES = 8 << 30
"""Of weights that are tried on a CPU."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Over so many tokens: mean k3, slope of one engine's log-probs on the other's, largest difference."""

    num_tokens: int
    kl: float
    slope: float
    largest: float


def check_parity(config: RunConfig, machine: Machine) -> Iterator[Line]:
    """Yield a line on how far engine and trainer are apart, or on why that was not tried."""
    import torch

    memory = planned_memory(config)
    reason = reason_to_skip(
        config,
        model_bytes=None if memory is None else memory.model_bytes,
        num_gpus=torch.cuda.device_count(),
        free_bytes=machine.available_bytes,
    )
    if reason is not None:
        yield warning(
            "parity", f"skipped: {reason}", "run `pgpo-async doctor` where an engine and a scorer can run"
        )
        return
    groups, failures = asyncio.run(_sampled(config))
    if failures:
        yield (warning if groups else error)(
            "parity",
            f"the engine refuses {len(failures)} of {len(failures) + len(groups)} prompts: {failures[0]}",
            "compare data.max_prompt_tokens and model.max_pixels with generator.engine (max_model_len)",
        )
    if groups:
        yield verdict(config, compared(config, groups))


async def _sampled(config: RunConfig) -> tuple[list[RolloutGroup], list[str]]:
    """Groups as a generator makes them, fewer and shorter, and why others failed."""
    from pgpo_async.actors.answering import answer_all
    from pgpo_async.actors.engine import RolloutEngine, Sampling
    from pgpo_async.actors.group_maker import GroupMaker
    from pgpo_async.data.chat import ChatEncoder
    from pgpo_async.data.sources import train_source
    from pgpo_async.metrics.spans import Spans
    from pgpo_async.policy.loading import load_processor
    from pgpo_async.policy.model_path import resolve_model_path

    model, generation = config.model, config.generation
    path = resolve_model_path(model.path)
    processor = load_processor(
        path,
        min_pixels=model.min_pixels,
        max_pixels=model.max_pixels,
        trust_remote_code=model.trust_remote_code,
    )
    prompts, _ = first_prompts(train_source(config), NUM_TRIED)
    sampling = Sampling(
        num_samples=min(NUM_SAMPLES, generation.group_size),
        temperature=generation.temperature,
        top_p=generation.top_p,
        max_tokens=min(MOST_TOKENS, generation.max_response_tokens),
    )
    engine = RolloutEngine(config, path, seed=config.seed)
    try:
        await engine.start()
        chat = ChatEncoder(processor, config.data, model)
        maker = GroupMaker("doctor", engine, chat, [], config.reward, Spans(False))
        groups, failed = await answer_all(
            maker, prompts[:NUM_PROMPTS], sampling, num_at_once=NUM_PROMPTS, rewarded=False
        )
    finally:
        engine.close()
    return groups, [f"{prompt_id}: {reason}" for prompt_id, reason in failed]


def compared(config: RunConfig, groups: Sequence[RolloutGroup]) -> Agreement:
    """Score the groups as a scorer does, and compare."""
    import numpy as np

    from pgpo_async.actors.scoring_model import ScoringModel
    from pgpo_async.learner.agreement import agreement, agreement_sums

    device = "cuda" if _trainer(config).gpus > 0 else "cpu"
    scored = ScoringModel(config, device).score(groups, version=0)
    sums = agreement_sums(scored)
    found = agreement(sums)
    differences: list[Any] = [
        proximal - rollout.behaviour_logprobs
        for each in scored
        for rollout, proximal in zip(each.group.rollouts, each.proximal_logprobs, strict=True)
    ]
    return Agreement(
        num_tokens=int(sums["num_fresh_tokens"]),
        kl=found["fresh_mismatch_kl"],
        slope=found["fresh_slope"],
        largest=float(np.abs(np.concatenate(differences)).max(initial=0.0)),
    )


def verdict(config: RunConfig, found: Agreement) -> Line:
    """Return the line: by the limit, and with the words, of the guard that watches a run."""
    if not found.num_tokens:
        return error("parity", "the engine sampled no token", "raise generation.max_response_tokens")
    guard = config.train.guard
    at_once = MismatchGuard(guard.model_copy(update={"patience": 1}))
    wrong = at_once.note(0, {"fresh_mismatch_kl": found.kl, "fresh_slope": found.slope})
    differ = f"largest difference {found.largest:.2g} over {found.num_tokens} tokens"
    if wrong is not None:
        return error(
            "parity", f"{wrong} ({differ})", "change the field named: a run would end for this by itself"
        )
    return ok(
        "parity",
        f"vLLM and trainer agree: mean k3 {found.kl:.2g} (train.guard.max_mismatch_kl is "
        f"{guard.max_mismatch_kl:g}), {differ}",
    )


def reason_to_skip(
    config: RunConfig, *, model_bytes: int | None, num_gpus: int, free_bytes: int
) -> str | None:
    """Say why a trial on this machine would not be possible, or not worth its time; None if it is."""
    if model_bytes is None:
        return "the model is not on this machine"
    trainer = _trainer(config).gpus
    asked, least = max(config.generator.gpus, trainer), min(config.generator.gpus, trainer)
    if asked > num_gpus:
        return f"{asked:g} GPUs are asked for, {num_gpus} are here"
    if least == 0 and model_bytes > MOST_CPU_BYTES:
        return f"{in_bytes(model_bytes)} of weights take too long on a CPU"
    if least == 0 and 2 * model_bytes > free_bytes:
        return f"{in_bytes(free_bytes)} of memory are free, too little for {in_bytes(model_bytes)} of weights"
    return None


def _trainer(config: RunConfig) -> ScorerConfig | LearnerConfig:
    """Whose device the trainer's side is computed on."""
    return config.scorer if config.uses_scorers else config.learner
