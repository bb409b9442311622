"""`pgpo-async bench policy`: the model's passes against the plain way, and against the device's peak.

Runs with torch and transformers only: no Ray, vLLM or DeepSpeed. Called by the command line.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import torch

from pgpo_async.bench.head import measure_head
from pgpo_async.bench.models import (
    THREE_B,
    THREE_B_LIKE,
    TINY,
    BenchModel,
    Dimensions,
    random_group,
    random_model,
)
from pgpo_async.bench.options import Options
from pgpo_async.bench.plain import PlainRollout
from pgpo_async.bench.report import Say
from pgpo_async.bench.timing import PeakMemory, machine, matmul_flops, medians
from pgpo_async.contracts import ConfigError
from pgpo_async.policy.inputs import PolicyInputs, PromptGroup
from pgpo_async.policy.packing import GroupSize

_DIMENSIONS: dict[str, Dimensions] = {"tiny": TINY, "3b-like": THREE_B_LIKE, "3b": THREE_B}
GROUP_SIZE, TEXT_TOKENS, RESPONSE_TOKENS = 8, 60, 200


def completed(options: Options) -> Options:
    """With the defaults of this machine. Raises ConfigError if it has no such device."""
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device: cuda needs a GPU that torch can use, found none")
    default = ("tiny", "3b") if device == "cuda" else ("tiny", "3b-like")
    return replace(options, device=device, models=options.models or default)


def bench_policy(options: Options, say: Say = lambda _: None) -> dict[str, Any]:
    """Measure; the keys are DESIGN.md's, and `models` has everything by model and image size."""
    options = completed(options)
    device = torch.device(options.device)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    peak = matmul_flops(dtype, device)
    figures: dict[str, Any] = {
        **machine(device),
        "dtype": str(dtype),
        "matmul_flops_per_s": peak,
        "models": {},
    }
    if options.head:
        say("head: 2048 tokens, hidden 2048, vocabulary 151,936")
        head = measure_head(device, dtype=dtype, repeats=options.repeats)
        figures |= {
            "logprob_peak_ratio": head.peak_ratio,
            "logprob_time_ratio": head.time_ratio,
            "head": asdict(head),
        }
    for name in options.models:
        say(f"{name}: random weights")
        model = random_model(_DIMENSIONS[name], dtype=dtype, device=device, attention=options.attention)
        figures["models"][name] = {
            str(images): measure_passes(model, images, options.repeats, peak, lambda text: say(text))
            for images in options.image_tokens
        }
        del model
    largest = figures["models"][options.models[-1]]
    for key in ("blind_over_sighted", "group_score_ratio", "group_step_ratio"):
        figures[key] = {images: found[key] for images, found in largest.items()}
    figures["exact_over_k3"] = max(found["exact_over_k3"] for found in largest.values())
    if options.peer:
        from pgpo_async.bench.peer import measure_peer

        say(f"one optimizer step of the demo against {options.peer}")
        figures |= measure_peer(options.repeats)
    return figures


def measure_passes(
    model: BenchModel, image_tokens: int, repeats: int, peak_flops: float, say: Say = lambda _: None
) -> dict[str, Any]:
    """One prompt with one image and `GROUP_SIZE` responses: seconds of each way, ratios, speed."""
    policy, device = model.policy, model.policy.device
    group = random_group(
        model,
        image_tokens=image_tokens,
        text_tokens=TEXT_TOKENS,
        responses=[RESPONSE_TOKENS] * GROUP_SIZE,
    )
    one = group.select([0])
    sighted, blind = (model.collator([group], blind=hide).to(device) for hide in (False, True))
    one_sighted, one_blind = (model.collator([one], blind=hide).to(device) for hide in (False, True))
    rollouts = [PlainRollout(model, group, i) for i in range(GROUP_SIZE)]

    def shared_score() -> None:
        policy(sighted)
        policy(blind)

    def plain_score(rollout: PlainRollout) -> None:
        rollout.sighted()
        rollout.blind()

    scoring = {
        "one sighted": lambda: policy(one_sighted),
        "one blind": lambda: policy(one_blind),
        "group sighted": lambda: policy(sighted),
        "group scored": shared_score,
        "group scored, exact": lambda: policy(sighted, blind_inputs=blind),
    }
    plain_scoring = {"group scored, plain": [partial(plain_score, rollout) for rollout in rollouts]}

    def shared_step() -> None:
        policy.zero_grad()
        _backward(lambda: policy(sighted).logprobs)

    stepping = {"group step": shared_step}
    plain_stepping = {"group step, plain": [partial(_backward, rollout.sighted) for rollout in rollouts]}
    where = f"{image_tokens} image tokens"
    with torch.no_grad():
        policy(one_sighted)  # the first pass sets things up
        seconds = medians(
            scoring, plain_scoring, repeats=repeats, device=device, said=lambda t: say(f"{where}: scored {t}")
        )
    policy.train()
    shared_step()
    seconds |= medians(
        stepping, plain_stepping, repeats=repeats, device=device, said=lambda t: say(f"{where}: trained {t}")
    )
    policy.zero_grad()
    model.stock.zero_grad()
    with PeakMemory(device) as memory:
        shared_step()
    policy.zero_grad()
    policy.eval()
    flops = _flops(model, group, sighted)
    scored = sighted.target_ids.numel()
    return {
        "seconds": seconds,
        "blind_over_sighted": seconds["one blind"] / seconds["one sighted"],
        "group_score_ratio": seconds["group scored"] / seconds["group scored, plain"],
        "group_step_ratio": seconds["group step"] / seconds["group step, plain"],
        "exact_over_k3": seconds["group scored, exact"] / seconds["group scored"],
        "response_tokens_per_s": {
            "scored": scored / seconds["group scored"],
            "scored, plain": scored / seconds["group scored, plain"],
            "trained": scored / seconds["group step"],
            "trained, plain": scored / seconds["group step, plain"],
        },
        "share_of_peak": {
            "sighted": flops / seconds["group sighted"] / peak_flops,
            "step": 3 * flops / seconds["group step"] / peak_flops,
        },
        "step_peak_bytes": memory.extra_bytes,
    }


def _backward(logprobs: Callable[[], torch.Tensor]) -> None:
    """A forward and backward; the gradients of a group's rollouts add up."""
    torch.autograd.backward(logprobs().sum())


def _flops(model: BenchModel, group: PromptGroup, inputs: PolicyInputs) -> float:
    """Of a sighted forward."""
    work = model.policy.work
    size = GroupSize(prompt=len(group.prompt_token_ids), responses=group.response_lengths)
    assert inputs.pixel_values is not None
    return (
        inputs.num_tokens * work.token_flops
        + size.num_pairs * work.pair_flops
        + work.tower_flops(len(inputs.pixel_values), patches_per_token=4)
        + inputs.target_ids.numel() * work.target_flops
    )
