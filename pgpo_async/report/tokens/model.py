"""A model's answers to one question about some images as a token page, outside any run.

Owns the sampling, with transformers' own generation, and the rewards where a reference answer is given. The
prompt is `data.chat`'s, the passes are `scoring`'s. Called by `command`.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig as SamplingConfig

from pgpo_async.algorithms.shaping import make_shaper
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import ConfigError, Prompt, PromptError, Rollout, RolloutGroup, VersionSpan
from pgpo_async.data.chat import ChatEncoder
from pgpo_async.report.tokens.pieces import TokenTexts
from pgpo_async.report.tokens.question import ModelRequest, suited
from pgpo_async.report.tokens.scoring import TokenMeter
from pgpo_async.report.tokens.values import group_values
from pgpo_async.report.tokens.view import GroupView, TokensView
from pgpo_async.rewards.length import overlong_penalty
from pgpo_async.rewards.verifier import Verifier

OWN_SAMPLES = "1 everywhere: the model that is measured has just sampled these tokens itself"
NO_LAG = "0 everywhere: the model that is measured has just sampled these tokens itself"
NO_ANSWER = "no reward without a reference answer (--answer)"


def view_of_model(
    request: ModelRequest, config: RunConfig, prompt: Prompt, *, device: str, say: Callable[[str], None]
) -> TokensView:
    """Load, sample and measure; `say` is told what takes a while. Raises ConfigError, or RewardError."""
    say(f"loading {request.model} on {device}")
    meter = TokenMeter(request.model, suited(config, request, device), device, option="--model")
    say(f"sampling {request.samples} responses")
    return measured_view(request, meter, prompt)


def measured_view(request: ModelRequest, meter: TokenMeter, prompt: Prompt) -> TokensView:
    """The page of a model that is loaded."""
    config = meter.config
    group = sampled_group(meter, prompt, num_samples=request.samples, seed=request.seed)
    if request.answer is not None:
        group = replace(group, rollouts=rewarded(group.rollouts, prompt, config))
    try:
        scored, entropy = meter.score(group)
    except ValueError as error:
        raise ConfigError(f"--model: {request.model} cannot score its own responses: {error}") from error
    missing = {"importance": OWN_SAMPLES, "lag": NO_LAG}
    if request.answer is None:
        missing["advantage"] = NO_ANSWER
    values = group_values(scored, config.algorithm, entropy=entropy, missing=missing)
    texts = TokenTexts(meter.processor.tokenizer)
    view = GroupView.of(scored, values, texts, rewarded=request.answer is not None)
    generation = config.generation
    shaper = config.algorithm.shaper
    facts = [
        ("model", request.model),
        ("method", shaper.name),
        ("temperature", f"{generation.temperature:g}"),
        ("seed", str(request.seed)),
        ("measured on", f"{meter.device}, {config.model.dtype}"),
    ]
    notes = []
    if make_shaper(shaper.name, **shaper.parameters()).scope == "batch":
        notes.append(f"{shaper.name!r} weighs a whole step together; here it has seen this group alone.")
    return TokensView(title=f"Tokens of {request.model}", facts=facts, notes=notes, groups=(view,))


def sampled_group(meter: TokenMeter, prompt: Prompt, *, num_samples: int, seed: int) -> RolloutGroup:
    """Sample responses to a prompt, all by one version; behaviour log-probs are not known (nan).

    Raises ConfigError if the prompt does not suit the model.
    """
    config, processor = meter.config, meter.processor
    encoder = ChatEncoder(processor, config.data, config.model)
    try:
        chat = encoder.encode(prompt)
    except PromptError as error:
        message = " ".join(error.message.removeprefix(f"prompt {prompt.prompt_id}: ").split())
        raise ConfigError(f"--question: {message}") from error
    inputs = processor(
        text=[encoder.chat_text(prompt)],
        images=list(chat.images) or None,
        add_special_tokens=False,
        return_tensors="pt",
    )
    prompt_ids = inputs["input_ids"][0]
    if len(prompt_ids) != chat.num_prompt_tokens:
        raise ConfigError(
            f"--model: its processor makes {len(prompt_ids)} tokens of the prompt, but counts "
            f"{chat.num_prompt_tokens}: it is of a kind that is not supported"
        )
    responses = _generate(meter, inputs, num_samples=num_samples, seed=seed)
    return RolloutGroup(
        group_id="asked",
        prompt=prompt,
        prompt_token_ids=prompt_ids.numpy().astype(np.int32),
        rollouts=tuple(_rollout(row, finished, processor.tokenizer) for row, finished in responses),
    )


def rewarded(rollouts: Sequence[Rollout], prompt: Prompt, config: RunConfig) -> tuple[Rollout, ...]:
    """The responses with a run's rewards. Raises ConfigError, RewardError."""
    reward, most = config.reward, config.generation.max_response_tokens
    verifier = Verifier(reward.accuracy_weight, reward.format_weight, reward.function)
    judged = []
    for rollout, score in zip(rollouts, verifier.score([r.text for r in rollouts], prompt), strict=True):
        total, parts = score.total, dict(score.parts)
        if reward.overlong_buffer_tokens:
            parts["overlong"] = overlong_penalty(
                len(rollout.response_token_ids),
                max_tokens=most,
                buffer_tokens=reward.overlong_buffer_tokens,
            )
            total += reward.overlong_penalty * parts["overlong"]
        judged.append(replace(rollout, reward=total, reward_parts=parts))
    return tuple(judged)


@torch.inference_mode()
def _generate(meter: TokenMeter, inputs: Any, *, num_samples: int, seed: int) -> list[tuple[list[int], bool]]:
    """Token ids of each response, with the end token where the model wrote one, and whether it did."""
    model, generation = meter.policy.model, meter.config.generation
    known, hf_config = model.generation_config, meter.policy.config
    ends = known.eos_token_id
    ends = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
    if meter.processor.tokenizer.eos_token_id is not None:
        ends = list(dict.fromkeys([*ends, meter.processor.tokenizer.eos_token_id]))
    # In place of the model's own: what it says of penalties and cuts would be another policy.
    model.generation_config = SamplingConfig(
        do_sample=True,
        temperature=generation.temperature,
        top_k=0,
        top_p=generation.top_p,
        num_return_sequences=num_samples,
        max_new_tokens=generation.max_response_tokens,
        suppress_tokens=[int(hf_config.image_token_id), int(hf_config.video_token_id)],
        eos_token_id=ends or None,
        pad_token_id=ends[0] if known.pad_token_id is None and ends else known.pad_token_id,
    )
    cuda = [torch.cuda.current_device()] if meter.device.startswith("cuda") else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(seed)
        output = model.generate(**inputs.to(meter.device))
    rows = output[:, inputs["input_ids"].shape[1] :].tolist()
    return [_until_end(row, set(ends)) for row in rows]


def _until_end(row: list[int], ends: set[int]) -> tuple[list[int], bool]:
    for place, token in enumerate(row):
        if token in ends:
            return row[: place + 1], True
    return row, False


def _rollout(token_ids: list[int], finished: bool, tokenizer: Any) -> Rollout:
    length = len(token_ids)
    return Rollout(
        response_token_ids=np.asarray(token_ids, np.int32),
        behaviour_logprobs=np.full(length, np.nan, np.float32),
        version_spans=(VersionSpan(version=0, start=0, end=length),),
        finish_reason="stop" if finished else "length",
        text=tokenizer.decode(token_ids, skip_special_tokens=True),
    )
