"""TRL's GRPO trainer on given responses: its own preparation, loss, backward and update, timed apart.

Only generation and reward are replaced. Settings are TRL's fastest for this work: no reference model, no old
log-probs, no checkpointing, no logging, the micro-batch that a trial finds quickest. Called by `peer`.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from pgpo_async.contracts import ConfigError
from pgpo_async.contracts.rollouts import Int32Array
from pgpo_async.policy.images import decode_image

MICRO_BATCHES = (256, 64, 32, 16)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrlTimes:
    """Seconds of each step after the first: between responses and loss, and from the loss to the update."""

    version: str
    micro_batch: int
    prepare_s: tuple[float, ...]
    step_s: tuple[float, ...]

    @property
    def whole_s(self) -> float:
        """Median of a whole step."""
        return median(a + b for a, b in zip(self.prepare_s, self.step_s, strict=True))


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """Prompts as (text, encoded image); for each its responses and their rewards."""

    prompts: Sequence[tuple[str, bytes]]
    responses: Sequence[Sequence[Int32Array]]
    rewards: Sequence[Sequence[float]]

    @property
    def num_responses(self) -> int:
        """Of all prompts together."""
        return sum(map(len, self.responses))


def measure_trl(model_folder: Path, task: Task, *, steps: int, lr: float) -> TrlTimes:
    """Time `steps` optimizer steps at the quickest micro-batch. Raises ConfigError without TRL."""
    try:
        import trl
    except ImportError as error:
        raise ConfigError(
            "--peer trl needs TRL: `uv run --group peers pgpo-async bench policy --peer trl`"
        ) from error
    fitting = [size for size in MICRO_BATCHES if task.num_responses % size == 0]
    trials = {size: _run(trl, model_folder, task, size, steps=1, lr=lr) for size in fitting}
    best = min(trials, key=lambda size: trials[size].whole_s)
    return _run(trl, model_folder, task, best, steps=steps, lr=lr)


def _run(trl: Any, model_folder: Path, task: Task, micro_batch: int, *, steps: int, lr: float) -> TrlTimes:
    from transformers import AutoProcessor, PrinterCallback, Qwen2_5_VLForConditionalGeneration

    rounds = task.num_responses // micro_batch
    with tempfile.TemporaryDirectory() as folder:
        arguments = trl.GRPOConfig(
            output_dir=folder,
            use_cpu=True,
            bf16=False,
            per_device_train_batch_size=micro_batch,
            gradient_accumulation_steps=rounds,
            steps_per_generation=rounds,
            num_generations=len(task.responses[0]),
            max_completion_length=max(len(r) for each in task.responses for r in each),
            max_steps=steps + 1,
            learning_rate=lr,
            lr_scheduler_type="constant",
            max_grad_norm=1.0,
            beta=0.0,
            gradient_checkpointing=False,
            report_to=[],
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
            shuffle_dataset=False,
        )
        clock = _Clock(task)
        trainer = _trainer_class(trl)(
            clock,
            model=Qwen2_5_VLForConditionalGeneration.from_pretrained(model_folder, dtype="float32"),
            processing_class=AutoProcessor.from_pretrained(model_folder),
            args=arguments,
            reward_funcs=clock.rewards,
            train_dataset=_dataset(task),
        )
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(_callback(clock))
        trainer.train()
    if clock.num_tokens != (steps + 1) * sum(len(r) for each in task.responses for r in each):
        raise RuntimeError(f"TRL must have trained on the given responses, it saw {clock.num_tokens} tokens")
    return TrlTimes(
        version=trl.__version__,
        micro_batch=micro_batch,
        prepare_s=tuple(clock.prepare_s[1:]),
        step_s=tuple(clock.step_s[1:]),
    )


class _Clock:
    """The given responses in the order that TRL asks for them, and the times of what it does with them."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.batch: list[tuple[int, int]] = []
        self.num_tokens = 0
        self.prepare_s: list[float] = []
        self.step_s: list[float] = []
        self.started_s = 0.0

    def begin_batch(self, prompts: Sequence[int]) -> None:
        """Note the prompts of a batch, each as often as it has responses."""
        seen: Counter[int] = Counter()
        self.batch = []
        for prompt in prompts:
            self.batch.append((prompt, seen[prompt]))
            seen[prompt] += 1

    def responses(self) -> list[list[int]]:
        """Of the batch."""
        chosen = [self._task.responses[i][j].tolist() for i, j in self.batch]
        self.num_tokens += sum(map(len, chosen))
        return chosen

    def rewards(self, **_: Any) -> list[float]:
        """Of the batch: a reward function as TRL calls it."""
        return [self._task.rewards[i][j] for i, j in self.batch]


def _trainer_class(trl: Any) -> Any:
    class GivenResponses(trl.GRPOTrainer):
        def __init__(self, clock: _Clock, **options: Any) -> None:
            self._clock = clock
            super().__init__(**options)

        def _generate_and_score_completions(self, inputs: Any) -> Any:
            started_s = time.perf_counter()
            self._clock.begin_batch([example["number"] for example in inputs])
            result = super()._generate_and_score_completions(inputs)
            self._clock.prepare_s.append(time.perf_counter() - started_s)
            return result

        def _generate_single_turn(self, *_: Any, **__: Any) -> Any:
            return self._clock.responses(), None

    return GivenResponses


def _callback(clock: _Clock) -> Any:
    from transformers import TrainerCallback

    class Times(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            clock.started_s = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            # The batch is prepared inside the step, before its first micro-batch.
            clock.step_s.append(time.perf_counter() - clock.started_s - clock.prepare_s[-1])

    return Times()


def _dataset(task: Task) -> Any:
    from datasets import Dataset

    rows = [
        {"number": number, "prompt": [{"role": "user", "content": text}], "image": decode_image(image)}
        for number, (text, image) in enumerate(task.prompts)
    ]
    return Dataset.from_list(rows)
