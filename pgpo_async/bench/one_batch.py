"""One batch of the objects demo, sampled and judged: what every method is given alike.

Owns the sampling, with transformers' own generation, and the rewards. Called by `variance`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForImageTextToText

from pgpo_async.algorithms.advantages import group_advantages
from pgpo_async.contracts import Prompt
from pgpo_async.demo.sampling import sampled_tokens
from pgpo_async.demo.scenes import DemoExample
from pgpo_async.demo.task import OBJECTS_TASK
from pgpo_async.policy.inputs import PromptGroup
from pgpo_async.policy.loading import load_processor
from pgpo_async.policy.model_path import resolve_model_path
from pgpo_async.rewards.verifier import Verifier

MODEL = "builtin:tiny-vlm-objects"
PROMPTS_AT_ONCE = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgedBatch:
    """Groups with signal, and the advantage [B] of each of their responses, in order (GRPO)."""

    groups: tuple[PromptGroup, ...]
    advantages_B: Tensor
    accuracy: float
    num_dropped: int
    """Groups whose responses were all right or all wrong, which dynamic sampling filters."""


def judged_batch(*, num_prompts: int, group_size: int, seed: int) -> JudgedBatch:
    """Sample `group_size` responses at temperature 1 to each of the first training prompts of a seed."""
    processor = load_processor(MODEL)
    model = AutoModelForImageTextToText.from_pretrained(resolve_model_path(MODEL), dtype=torch.float32)
    torch.manual_seed(seed)
    examples = [OBJECTS_TASK.example("train", seed, index) for index in range(num_prompts)]
    sampled = []
    for start in range(0, num_prompts, PROMPTS_AT_ONCE):
        chunk = examples[start : start + PROMPTS_AT_ONCE]
        sampled += sampled_tokens(
            model,
            processor,
            chunk,
            max_new_tokens=OBJECTS_TASK.max_new_tokens,
            samples_per_prompt=group_size,
        )
    groups, rewards, right = [], [], []
    for number, (example, (prompt_ids, responses)) in enumerate(zip(examples, sampled, strict=True)):
        judged = _judge(example, processor.tokenizer.batch_decode(responses, skip_special_tokens=True))
        right += [accuracy for accuracy, _ in judged]
        if len({accuracy for accuracy, _ in judged}) > 1:
            rewards.append([reward for _, reward in judged])
            groups.append(_group(example, prompt_ids, responses, key=f"{seed}/{number}"))
    flat = torch.tensor([reward for row in rewards for reward in row], dtype=torch.float64)
    owners = torch.arange(len(groups)).repeat_interleave(group_size)
    return JudgedBatch(
        groups=tuple(groups),
        advantages_B=group_advantages(flat, owners).float(),
        accuracy=sum(right) / len(right),
        num_dropped=num_prompts - len(groups),
    )


def _judge(example: DemoExample, texts: Sequence[str]) -> list[tuple[float, float]]:
    """Accuracy and reward of each text."""
    prompt = Prompt(prompt_id=example.example_id, question=example.question, answer=example.answer)
    scores = Verifier(0.9, 0.1).score(list(texts), prompt)
    return [(score.parts["accuracy"], score.total) for score in scores]


def _group(example: DemoExample, prompt_ids: Any, responses: Sequence[Any], *, key: str) -> PromptGroup:
    return PromptGroup(
        prompt_token_ids=np.asarray(prompt_ids, np.int32),
        responses=tuple(np.asarray(response, np.int32) for response in responses),
        images=(example.image_png,),
        key=key,
    )
