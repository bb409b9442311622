r"""Sampled accuracy of a tiny model on held-out examples, with transformers' own generation.

Owns the measurement that `demo.build` steers by and that a test repeats on the shipped files. It reads the
box with a regular expression only: `rewards` lies above this package and judges answers in earnest.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pgpo_async.demo.scenes import DemoExample
from pgpo_async.demo.task import DemoTask
from pgpo_async.demo.warm_start import open_image, prompt_text

_WELL_FORMED = re.compile(r"<think>.*</think>.*\\boxed\{([^{}]*)\}", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledAccuracy:
    """Shares in [0, 1] over `num_samples` responses; lengths in tokens, with the end of the turn."""

    accuracy: float
    format_rate: float
    num_samples: int
    median_tokens: int
    max_tokens: int


def boxed_answer(response: str) -> str | None:
    r"""What a well-formed response states in its \boxed{}, or None where the form is broken."""
    match = _WELL_FORMED.fullmatch(response.strip())
    return match.group(1).strip() if match else None


def sampled_accuracy(
    model: Any, processor: Any, task: DemoTask, *, num_prompts: int, samples_per_prompt: int, seed: int
) -> SampledAccuracy:
    """Sample answers at temperature 1, whole vocabulary, to a task's first held-out examples of `seed`.

    Sets torch's global seed, so that the same weights give the same figure on the same machine.
    """
    examples = [task.example("heldout", seed, index) for index in range(num_prompts)]
    torch.manual_seed(seed)
    responses, lengths = generate(
        model,
        processor,
        examples,
        max_new_tokens=task.max_new_tokens,
        samples_per_prompt=samples_per_prompt,
    )
    answers = [boxed_answer(response) for response in responses]
    references = [example.answer for example in examples for _ in range(samples_per_prompt)]
    num_samples = len(references)
    num_right = sum(answer == reference for answer, reference in zip(answers, references, strict=True))
    return SampledAccuracy(
        accuracy=num_right / num_samples,
        format_rate=sum(answer is not None for answer in answers) / num_samples,
        num_samples=num_samples,
        median_tokens=sorted(lengths)[num_samples // 2],
        max_tokens=max(lengths),
    )


def generate(
    model: Any,
    processor: Any,
    examples: Sequence[DemoExample],
    *,
    max_new_tokens: int,
    samples_per_prompt: int | None = None,
) -> tuple[list[str], list[int]]:
    """Responses as text without special tokens, and their lengths in tokens, in the order of `examples`.

    With `samples_per_prompt` it samples that many per example, side by side; without, it decodes greedily.
    """
    sampled = sampled_tokens(
        model, processor, examples, max_new_tokens=max_new_tokens, samples_per_prompt=samples_per_prompt
    )
    tokens = [response for _, responses in sampled for response in responses]
    texts: list[str] = processor.tokenizer.batch_decode(tokens, skip_special_tokens=True)
    return texts, [len(response) for response in tokens]


@torch.inference_mode()
def sampled_tokens(
    model: Any,
    processor: Any,
    examples: Sequence[DemoExample],
    *,
    max_new_tokens: int,
    samples_per_prompt: int | None = None,
) -> list[tuple[list[int], list[list[int]]]]:
    """Prompt tokens of each example, and those of its responses, with the end of the turn; as `generate`."""
    model.eval()
    inputs = processor(
        text=[prompt_text(processor, example.question) for example in examples],
        images=[open_image(example) for example in examples],
        padding=True,
        return_tensors="pt",
    )
    sampling: dict[str, Any] = {"do_sample": False}
    if samples_per_prompt is not None:
        sampling = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
        sampling["num_return_sequences"] = samples_per_prompt
    output = model.generate(**inputs, **sampling, max_new_tokens=max_new_tokens)
    pad = processor.tokenizer.pad_token_id
    responses = [row[row != pad].tolist() for row in output[:, inputs["input_ids"].shape[1] :]]
    each = samples_per_prompt or 1
    return [
        (ids[real != 0].tolist(), responses[i * each : (i + 1) * each])
        for i, (ids, real) in enumerate(zip(inputs["input_ids"], inputs["attention_mask"], strict=True))
    ]
