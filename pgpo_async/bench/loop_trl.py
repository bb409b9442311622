"""TRL's GRPO trainer on a run's own task: its whole step, from prompts through generation to new weights.

The same model, prompts, rewards, group size, response length, temperature and learning rate, in the
micro-batch that a trial finds quickest. Called by `loop`.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from pgpo_async.bench.trl_settings import TRIAL_STEPS, fitting_micro_batches, grpo_config, import_trl
from pgpo_async.config.schema import RunConfig
from pgpo_async.contracts import Prompt
from pgpo_async.data.chat import user_text
from pgpo_async.data.sources import train_source
from pgpo_async.policy.images import decode_image
from pgpo_async.policy.model_path import resolve_model_path
from pgpo_async.rewards.verifier import Verifier


@dataclass(frozen=True, kw_only=True, slots=True)
class TrlLoop:
    """Median seconds of a step after the first, and the mean length of the responses it trained on."""

    name: str
    micro_batch: int
    step_s: float
    response_tokens: float


def choose_micro_batch(config: RunConfig) -> int:
    """Return the size that is quickest for this task. Raises ConfigError without TRL."""
    rollouts = config.train.groups_per_step * config.generation.group_size
    return min(
        fitting_micro_batches(rollouts), key=lambda size: measure_loop(config, size, steps=TRIAL_STEPS).step_s
    )


def measure_loop(config: RunConfig, micro_batch: int, *, steps: int) -> TrlLoop:
    """Train `steps` steps after a first one. Raises ConfigError without TRL."""
    trl = import_trl()
    from transformers import AutoProcessor, PrinterCallback, Qwen2_5_VLForConditionalGeneration

    train, generation = config.train, config.generation
    path = resolve_model_path(config.model.path)
    source = train_source(config)
    prompts = [source.prompt(index) for index in range(train.groups_per_step * (steps + 1))]
    with tempfile.TemporaryDirectory() as folder:
        arguments = grpo_config(
            trl,
            folder,
            num_responses=train.groups_per_step * generation.group_size,
            micro_batch=micro_batch,
            group_size=generation.group_size,
            max_tokens=generation.max_response_tokens,
            steps=steps + 1,
            lr=config.learner.optimizer.lr,
            grad_clip=config.learner.optimizer.grad_clip,
            temperature=generation.temperature,
            top_p=generation.top_p,
        )
        watch = _Watch(config)
        trainer = trl.GRPOTrainer(
            model=Qwen2_5_VLForConditionalGeneration.from_pretrained(path, dtype=config.model.dtype),
            processing_class=AutoProcessor.from_pretrained(path),
            args=arguments,
            reward_funcs=watch.rewards,
            train_dataset=_dataset(config, prompts),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(_callback(watch))
        trainer.train()
    ends = watch.step_ends_s
    return TrlLoop(
        name=f"TRL {trl.__version__}",
        micro_batch=micro_batch,
        step_s=median(later - earlier for earlier, later in pairwise(ends)),
        response_tokens=watch.num_tokens / watch.num_responses,
    )


class _Watch:
    """The run's own rewards, and when each step ended."""

    def __init__(self, config: RunConfig) -> None:
        reward = config.reward
        self._verifier = Verifier(reward.accuracy_weight, reward.format_weight, reward.function)
        self.step_ends_s: list[float] = []
        self.num_tokens = self.num_responses = 0

    def rewards(
        self, completions: Sequence[Any], completion_ids: Sequence[Any], answer: Sequence[str], **_: Any
    ) -> list[float]:
        """Reward a batch: a reward function as TRL calls it."""
        self.num_responses += len(completions)
        self.num_tokens += sum(map(len, completion_ids))
        texts = [turns[0]["content"] for turns in completions]
        prompts = [Prompt(prompt_id="", question="", answer=right, index=0) for right in answer]
        return [
            self._verifier.score([text], prompt)[0].total for text, prompt in zip(texts, prompts, strict=True)
        ]


def _callback(watch: _Watch) -> Any:
    from transformers import TrainerCallback

    class Ends(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            watch.step_ends_s.append(time.perf_counter())

    return Ends()


def _dataset(config: RunConfig, prompts: Sequence[Prompt]) -> Any:
    from datasets import Dataset

    return Dataset.from_list(
        [
            {
                "prompt": _turns(config, prompt),
                "images": [decode_image(image) for image in prompt.images],
                "answer": prompt.answer,
            }
            for prompt in prompts
        ]
    )


def _turns(config: RunConfig, prompt: Prompt) -> list[dict[str, str]]:
    turns = [{"role": "user", "content": user_text(prompt, config.data)}]
    system = config.data.system_prompt
    return [{"role": "system", "content": system}, *turns] if system else turns
